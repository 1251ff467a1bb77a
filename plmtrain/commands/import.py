"""``plmtrain import``: a Hugging Face folder, checked and rewritten, that can be used wherever a run can."""

from __future__ import annotations

from pathlib import Path

from plmtrain.errors import SettingsError


def run(arguments: list[str]) -> int:
    """Read the folder, write it, read it back, compare, and print the result."""
    words, texts = _texts(arguments)
    if len(words) != 2 or any(word.startswith("-") for word in words):
        remedy = "write: plmtrain import HF_FOLDER FOLDER"
        raise SettingsError("import takes a Hugging Face folder and a new folder", f"command line: {' '.join(arguments)}", remedy)
    source, target = map(Path, words)

    from plmtrain.console import tell, warn
    from plmtrain.interop.importing import import_folder
    from plmtrain.interop.publishing import require_free
    from plmtrain.training.restore import is_run

    require_free(target)
    if is_run(source):
        raise SettingsError("this is a run of plmtrain's", str(source), "use it as it is, or export it: plmtrain export")
    tell(f"{target}: {import_folder(source, target, warn, texts)}")
    return 0


def _texts(arguments: list[str]) -> tuple[list[str], tuple[str, ...]]:
    """Return the arguments without ``--texts``, and the columns that it names.

    Raises:
        SettingsError: if they are not one or two.
    """
    words = [part for word in arguments for part in (word.split("=", 1) if word.startswith("--texts=") else [word])]
    if "--texts" not in words:
        return words, ()
    at = words.index("--texts")
    columns = tuple("".join(words[at + 1 : at + 2]).split(","))
    if len(columns) > 2 or not all(columns) or len(set(columns)) < len(columns):
        what = "--texts names the column of a text, or the two columns of a pair"
        remedy = "write --texts text, or --texts text,text_pair"
        raise SettingsError(what, f"command line: {' '.join(words[at : at + 2])}", remedy)
    return words[:at] + words[at + 2 :], columns
