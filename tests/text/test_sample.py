"""The sample text: prose, all of it, and the same each time."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from plmtrain.errors import DataError
from plmtrain.text import sample
from plmtrain.text.prose import paragraphs

_DIGEST = """
import hashlib
from plmtrain.text.sample import documents
print(hashlib.sha256(repr(list(documents())).encode()).hexdigest())
import sys
print("antigravity" in sys.modules, "tkinter" in sys.modules)
"""


@pytest.fixture(scope="module")
def documents() -> list[sample.Document]:
    return list(sample.documents())


def test_there_is_enough_of_it(documents: list[sample.Document]) -> None:
    assert len(documents) > 200
    assert sum(len(document.text) for document in documents) > 700_000
    assert len({document.source for document in documents}) == len(documents)
    assert all(not Path(document.source).is_absolute() for document in documents)


def test_it_is_prose(documents: list[sample.Document]) -> None:
    text = "\n".join(document.text for document in documents)
    for trace in (">>>", "::", "``", "__", "==", "--", "|", "\t", "{", "}", "<", ">", "\\", "://", "  ", "~", "*", "`", "\n\n"):
        assert trace not in text, trace
    lines = text.split("\n")
    assert all(re.fullmatch(r"""["'(]?[A-Z].*[.!?]["')]*""", line) for line in lines)
    letters = sum(character.isalpha() or character.isspace() for character in text)
    assert letters > 0.95 * len(text)
    words = re.findall(r"[a-z]+", text.lower())
    # The commonest words of English are the commonest here (the Brown corpus has "the" at 7 %).
    assert 0.05 < words.count("the") / len(words) < 0.12
    assert len(lines) == len(set(lines))


def test_it_is_the_same_in_another_process_and_nothing_is_imported_for_it(documents: list[sample.Document]) -> None:
    import hashlib

    run = subprocess.run([sys.executable, "-c", _DIGEST], capture_output=True, text=True, check=True, timeout=120)
    digest, imported = run.stdout.strip().split("\n")
    assert digest == hashlib.sha256(repr(documents).encode()).hexdigest()
    assert imported == "False False"


def test_a_python_without_documentation_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text('"""Too little to be a sample text of anything."""\n')
    (tmp_path / "broken.py").write_text("def (:\n")
    monkeypatch.setattr(sample, "_library", lambda: tmp_path)
    monkeypatch.setitem(sys.modules, "pydoc_data", None)
    sample._documents.cache_clear()
    try:
        with pytest.raises(DataError, match="without the documentation") as told:
            list(sample.documents())
        assert "data.files" in told.value.remedy
    finally:
        sample._documents.cache_clear()


@pytest.mark.parametrize(
    ("text", "prose"),
    [
        (
            "Return the :class:`~os.PathLike` object *as is*, ``whatever`` it is [1]_. See also `the book <http://x.y>`_ for it.",
            ["Return the PathLike object as is, whatever it is. See also the book for it."],
        ),
        ("A title of some words\n=====================\n\nThis is a sentence of the text.", ["This is a sentence of the text."]),
        (
            "For example, this is how it is done here:\n\n   >>> do(it)\n   True\n\nAnd that is all there is to it.",
            ["And that is all there is to it."],
        ),
        (".. note:: This is not for the faint of heart.", []),
        (":param x: the thing that is to be done with it.", []),
        (
            "* The first thing that is in the list.\n* The second thing that is in the list.",
            ["The first thing that is in the list.", "The second thing that is in the list."],
        ),
        ("+---+---+\n| a | b |\n+---+---+", []),
        ("   x = [y for y in z]\n   return x", []),
        ("f(x, y) -> the value of the function at the point.", []),
        ("Calls the foo() function with a value, and that is that.", ["Calls the foo function with a value, and that is that."]),
        ("Diese Funktion liefert den Wert zurück und ruft die andere auf.", []),
    ],
)
def test_only_prose_is_kept(text: str, prose: list[str]) -> None:
    assert list(paragraphs(text)) == prose
