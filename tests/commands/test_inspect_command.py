"""``plmtrain inspect`` of one's own sentences, and what it prints with and without colour."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest

from plmtrain.commands import inspect as command
from plmtrain.errors import DataError, SettingsError

SENTENCES = ("The old mill stands by the river. It is closed in the winter.", "Nobody crosses the wide and deep water.")
TEXT = "".join(
    f"the quick brown fox jumps over the lazy dog, The Old Mill stands {number} times. It Is! Nobody?\n" for number in range(99)
)
"""It has every letter that the sentences have."""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    (tmp_path / "text.txt").write_text(TEXT)
    return tmp_path


def inspected(capsys: pytest.CaptureFixture[str], objective: str, *words: str, model: str = "bert") -> str:
    """The output; the tokenizer is trained on a small file."""
    data = ["data=text", "data.files=[text.txt]", "trainer.sequence_length=32", "tokenizer.vocab_size=300"]
    chosen = [f"model={model}", f"objective={objective}", "size=tiny"]
    assert command.run([*chosen, *(data if not any(word.startswith("data=") for word in words) else []), *words]) == 0
    return capsys.readouterr().out


def letters(shown: str, label: str) -> str:
    """The text of the first line with a label, without what separates and marks tokens."""
    lines = re.split(r"\n(?= \S)|\n\n", shown)
    line = next(line for line in lines if line.lstrip().startswith(label))
    return re.sub(r"\[[a-z]+\]|</?[a-z]+>|[^a-z]", "", line.lstrip().removeprefix(label).lower())


PLAIN = re.sub(r"[^a-z]", "", " ".join(SENTENCES).lower())


@pytest.mark.parametrize(
    ("objective", "model", "label"),
    [("rtd", "bert", "original"), ("plm", "xlnet", "row"), ("bart", "bart", "original")],
)
def test_sentences_among_the_arguments_are_what_is_shown(
    objective: str, model: str, label: str, capsys: pytest.CaptureFixture[str]
) -> None:
    sentences = [SENTENCES[0]] if objective == "plm" else SENTENCES
    shown = inspected(capsys, objective, "trainer.sequence_length=128", *sentences, model=model)
    text = letters(shown, label)
    assert len(text) > 20
    # XLNet's second segment may be from elsewhere in the text, and its row ends before the last tokens.
    assert PLAIN.startswith(text[:20]) if objective == "plm" else text == PLAIN
    assert "epochs" in shown


def test_a_file_and_standard_input_are_read_a_text_a_line(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = "".join(f"{sentence}\n" for sentence in SENTENCES)
    (here / "five.txt").write_text(lines)
    among = inspected(capsys, "mlm", *SENTENCES)
    assert inspected(capsys, "mlm", "--file", "five.txt") == among
    monkeypatch.setattr("plmtrain.runs.whole_text.standard_input", lambda: io.BytesIO(lines.encode()))
    assert inspected(capsys, "mlm", "--file", "-") == among


@pytest.mark.parametrize(("objective", "model"), [("mlm", "bert"), ("plm", "xlnet")])
def test_a_small_file_is_not_too_little(objective: str, model: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "five.txt").write_text("One old mill stands by a river.\n" * 5)
    shown = inspected(capsys, objective, "data=text", "data.files=[five.txt]", "trainer.sequence_length=64", model=model)
    assert "oneoldmill" in letters(shown, "row" if objective == "plm" else "original")


def test_pairs_say_what_they_need(capsys: pytest.CaptureFixture[str]) -> None:
    for objective, words in (("nsp", "two different texts, one of them of two sentences"), ("sop", "a text of two sentences")):
        with pytest.raises(DataError, match=words) as told:
            inspected(capsys, objective, "The old mill stands.")
        assert told.value.where == "the text to inspect: 1 text, 1 sentence"
    assert "original (" in inspected(capsys, "nsp", *SENTENCES)
    assert "original (" in inspected(capsys, "sop", SENTENCES[0])


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["model=xlm", "objective=tlm", "data=parallel", "data.files=[x.tsv]", "data.languages=[en,de]"], "has no translation"),
        (["task=classification", "data.files=[x.tsv]"], "have answers, which a text alone has not"),
        (["objective=mlm", "objective"], "'objective' is not an override"),
        (["objective=mlm", "--file", "five.txt"], "there are texts and a file"),
        (["objective=mlm", "--file"], "--file needs a file"),
    ],
)
def test_what_cannot_be_inspected_is_refused(words: list[str], what: str) -> None:
    with pytest.raises(SettingsError, match=what):
        command.run([words[0], SENTENCES[0], *words[1:]])


def test_a_predicted_token_is_not_in_its_own_line_and_the_dots_are_explained(capsys: pytest.CaptureFixture[str]) -> None:
    shown = inspected(capsys, "plm", "objective.perm_size=4", SENTENCES[0], model="xlnet")
    assert " 1. sees" in shown
    for line in re.findall(r"\n \d+\. sees (.*(?:\n {9,}.*)*)", shown):
        assert line.count("?") == 1
    for word in ("never itself", "objective.reuse_len", "objective.perm_size"):
        assert word in " ".join(shown.split())


@pytest.mark.parametrize("coloured", [False, True])
def test_marks_are_signs_where_there_is_no_colour(
    coloured: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    if coloured:
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("TERM", "xterm-256color")
    shown = inspected(capsys, "spanbert", *SENTENCES)
    plain = re.sub(r"\x1b\[[0-9;]*m", "", shown)
    assert ("\x1b[" in shown) == coloured
    assert ("* target" in plain, " *" in plain.replace("* target", "")) == ((False, False) if coloured else (True, True))
    assert ("_[MASK]" in plain) != coloured
    assert max(map(len, plain.splitlines())) <= 80
