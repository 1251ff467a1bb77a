"""``plmtrain tokenizer``: train a tokenizer alone, or add tokens to an existing one."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from plmtrain.console import tell
from plmtrain.errors import DataError, SettingsError
from plmtrain.files import atomic_folder, clear_leftovers_of, disk_errors, read_text
from plmtrain.runs.command_settings import settings_for
from plmtrain.runs.corpus import first_words, tokenizer_of
from plmtrain.runs.preparation import preparation_report
from plmtrain.settings.composing.settings_file import separated
from plmtrain.settings.run import PretrainSettings
from plmtrain.text.extension import Extension, extend
from plmtrain.text.tokenizer import Tokenizer

_EXTEND = "plmtrain tokenizer extend RUN_OR_FOLDER NEW_FOLDER [--tokens WORD...] [--file WORDS]"
_SHOWN = 5


def run(arguments: list[str]) -> int:
    """Train a tokenizer on the training text, or load the one that was trained on it before; or extend one."""
    if arguments and arguments[0] == "extend":
        return _extended(arguments[1:])
    file, rest = separated(arguments)
    folder = Path(rest.pop(0)) if rest and "=" not in rest[0] and not rest[0].startswith("-") else None
    settings = settings_for("tokenizer", [*rest, *([file] if file is not None else [])])
    assert isinstance(settings, PretrainSettings)
    with preparation_report() as on_update:
        tokenizer = tokenizer_of(settings, on_update)
    place = folder or Path(settings.data.prepared_dir) / "tokenizers"
    if folder is not None:
        with disk_errors(folder):
            tokenizer.save(folder)
    sample = first_words(settings, lambda update: None)
    ((ids, _),) = tokenizer.encode([sample])
    tell(
        f"{tokenizer.type} tokenizer of {tokenizer.vocabulary.size:,} tokens in {place}",
        f"{sample}  →  {' '.join(tokenizer.pieces(ids.tolist()))}",
    )
    return 0


def _extended(arguments: list[str]) -> int:
    parser = _Parser(prog="plmtrain tokenizer extend", add_help=False, allow_abbrev=False)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--tokens", nargs="+", default=[])
    parser.add_argument("--file", type=Path)
    asked = parser.parse_args(arguments)
    texts = [text for words in asked.tokens for text in words.split(",")] + list(_lines(asked.file))
    if not any(text.strip() for text in texts):
        raise SettingsError("there are no tokens to add", _EXTEND, "name them: --tokens WORD, or --file with one in each line")
    if asked.target.exists():
        raise SettingsError("something exists at this path already", str(asked.target), "name a folder that does not exist yet")

    from plmtrain.interop.tokenizers import tokenizer_in
    from plmtrain.training.restore import tokenizer_folder

    before = tokenizer_in(tokenizer_folder(asked.source))
    extension = extend(before, [text for text in texts if text.strip()])
    clear_leftovers_of(asked.target)
    with atomic_folder(asked.target) as temporary:
        extension.tokenizer.save(temporary)
    _tell(before, extension, asked.target)
    return 0


def _tell(before: Tokenizer, extension: Extension, target: Path) -> None:
    """Print the new size, and some of the added tokens with the pieces that they were before."""
    now, added = extension.tokenizer, extension.added
    known = f"; {len(extension.known):,} were tokens before" if extension.known else ""
    sizes = f"{before.vocabulary.size:,} tokens before, {now.vocabulary.size:,} now"
    tell(f"{len(added):,} tokens added{known}; {sizes}, in {target}")
    for text in added[:_SHOWN]:
        pieces = (" ".join(each.pieces(each.encode([f" {text}"])[0][0])) for each in (before, now))
        tell("  " + "  →  ".join(pieces))


def _lines(path: Path | None) -> Iterator[str]:
    """Yield the lines of a file of tokens.

    Raises:
        DataError: if it is not UTF-8.
    """
    if path is None:
        return
    try:
        yield from read_text(path).removeprefix("\ufeff").splitlines()
    except UnicodeDecodeError:
        raise DataError("this file is not UTF-8", str(path), "save it as UTF-8, with one token in each line") from None


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise SettingsError(message, _EXTEND, "plmtrain tokenizer --help has examples")
