"""``plmtrain import``: a Hugging Face folder, or GPT-1's original files, checked and rewritten to serve where a run does."""

from __future__ import annotations

from pathlib import Path

from plmtrain.errors import SettingsError


def run(arguments: list[str]) -> int:
    """Read the folder, write it, read it back, compare, and print the result."""
    words, texts = _texts(arguments)
    words, heads = _heads(words)
    if len(words) != 2 or any(word.startswith("-") for word in words):
        remedy = "write: plmtrain import HF_FOLDER FOLDER"
        raise SettingsError("import takes a Hugging Face folder and a new folder", f"command line: {' '.join(arguments)}", remedy)
    source, target = map(Path, words)

    from plmtrain.console import tell, warn
    from plmtrain.interop.gpt1_original import is_original
    from plmtrain.interop.importing import import_folder, import_original
    from plmtrain.interop.publishing import require_free
    from plmtrain.training.restore import is_run

    require_free(target)
    if is_run(source):
        raise SettingsError("this is a run of plmtrain's", str(source), "use it as it is, or export it: plmtrain export")
    original = is_original(source)
    if unused := "--texts" if original and texts else "heads=" if heads is not None and not original else "":
        what = f"{unused} would have no effect"
        reason = "only GPT-1's original files lack the number of heads" if unused == "heads=" else "there is no classifier in it"
        raise SettingsError(what, f"{source}: {reason}", f"omit {unused}")
    published = import_original(source, target, warn, heads) if original else import_folder(source, target, warn, texts)
    tell(f"{target}: {published}")
    return 0


def _heads(words: list[str]) -> tuple[list[str], int | None]:
    """Return the arguments without ``heads=``, and the number that it gives.

    Raises:
        SettingsError: if it is no number above 0.
    """
    given = [word for word in words if word.startswith("heads=")]
    if not given:
        return words, None
    number = given[-1].removeprefix("heads=")
    if not (number.isascii() and number.isdigit() and int(number)):
        raise SettingsError("heads is a number above 0", f"command line: {given[-1]}", "write heads=12, or omit it")
    return [word for word in words if word not in given], int(number)


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
