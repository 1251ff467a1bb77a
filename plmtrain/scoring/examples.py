"""Reading examples from files, and texts whose likelihood is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from plmtrain.data.tables.table_files import Row, read
from plmtrain.errors import DataError
from plmtrain.scoring.likelihood import Continuation, Losses
from plmtrain.settings.data import TableSettings
from plmtrain.text.readers import SKIP, SKIP_FILE, Skips, expand, unpacked, unusable

if TYPE_CHECKING:
    from plmtrain.text.tokenizer import Tokenizer

_ADVICE = {
    SKIP_FILE: "remove it from scoring.files",
    SKIP: "correct or remove it",
    "data.format": "another ending of its name instead of data.format",
    "data.text_column": "scoring.text_column",
}
"""The words of readers about a run's settings, and those that take their place here."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """A text that is to be continued, and its right continuation.

    Args:
        file: the name of its file.
        where: its file and line.
        context: the text.
        answers: the right continuations, at least one.
        choices: the possible continuations; none if any text may continue it.
    """

    file: str
    where: str
    context: str
    answers: tuple[str, ...]
    choices: tuple[str, ...] = ()


def rows(patterns: Sequence[str], columns: Mapping[str, str], setting: str) -> Iterator[tuple[str, Row]]:
    """Yield the rows of some files, each with the name of its file.

    Args:
        patterns: files, folders or globs.
        columns: those that must be there, each with the setting that names it.
        setting: the setting that holds the patterns.

    Raises:
        DataError: with file and line.
    """
    files = expand(patterns, setting)
    names = names_of(files)
    for path in files:
        try:
            yield from ((names[path], row) for row in read(path, columns, TableSettings(), Skips()))
        except DataError as error:
            raise DataError(error.what, error.where, advised(error.remedy)) from None


def advised(remedy: str) -> str:
    """Return a reader's advice with the settings of scoring, among which none skips bad files and lines."""
    for theirs, ours in _ADVICE.items():
        remedy = remedy.replace(theirs, ours)
    return remedy


def names_of(files: Sequence[Path]) -> dict[Path, str]:
    """Return short names of files: without folders and endings, unless two would be the same."""
    short = {path: unpacked(path).rpartition(".")[0] or path.name for path in files}
    alike = len(set(short.values())) < len(files)
    return {path: str(path) for path in files} if alike else short


def cell_text(row: Row, column: str) -> str:
    """Return a cell that must be text.

    Raises:
        DataError: if it is none.
    """
    try:
        return row.text(column)
    except DataError as error:
        raise DataError(error.what, error.where, advised(error.remedy)) from None


def cell_texts(row: Row, column: str) -> tuple[str, ...]:
    """Return a cell that must be a text or a list of texts.

    Raises:
        DataError: if it is neither, or an empty list.
    """
    value = row.cells[column]
    if isinstance(value, str):
        return (cell_text(row, column),)
    if isinstance(value, list) and value and all(isinstance(one, str) and not unusable(one) for one in value):
        return tuple(value)
    what = f"column '{column}' should be a text or a list of texts, but is {repr(value)[:60]}"
    raise DataError(what, row.where, "correct or remove it")


def continuation(tokenizer: Tokenizer, context: str, text: str) -> Continuation:
    """Encode a text after its context.

    Both are encoded together, as the model has read text. A token that reaches from one into the other belongs to the text.

    Args:
        tokenizer: the model's tokenizer.
        context: the text before.
        text: the text that is scored.
    """
    (ids, starts), (before, _) = tokenizer.encode([context + text, context])
    shared = min(len(ids), len(before))
    different = np.flatnonzero(ids[:shared] != before[:shared])
    return Continuation(ids, starts, int(different[0]) if len(different) else shared)


def fitted(asked: Continuation, longest: int) -> Continuation:
    """Return a text of at most ``longest`` tokens, whose context begins later if it is too long; it must be possible."""
    surplus = max(0, len(asked.tokens) - longest)
    assert surplus <= asked.first, "the scored tokens alone are too many"
    return replace(asked, tokens=asked.tokens[surplus:], word_starts=asked.word_starts[surplus:], first=asked.first - surplus)


def require_tokens(asked: Continuation, text: str, where: str, longest: int) -> None:
    """Refuse a text that has no token, or more than the model takes.

    Args:
        asked: the encoded text.
        text: the scored text, for the message.
        where: its file and line.
        longest: the most tokens that the model takes.

    Raises:
        DataError: if it has none or too many.
    """
    if not asked.scored:
        raise DataError(f"this text has no token: '{text[:60]}'", where, "give a text in every column that is scored")
    if asked.scored > longest:
        what = f"a text has {asked.scored} tokens, but the model takes {longest}"
        raise DataError(what, f"{where}: '{text[:60]}'", "give shorter texts")


def log_likelihood(losses: Losses, text: str, compare: str) -> float:
    """Return the number by which texts are compared: the log-likelihood, as it is or divided by the length.

    Args:
        losses: of the tokens of the text, in nats.
        text: the text.
        compare: ``sum``, ``per_token`` or ``per_byte``.
    """
    sizes = {"sum": 1, "per_token": max(1, len(losses)), "per_byte": len(text.encode())}
    return -float(losses.sum()) / sizes[compare]
