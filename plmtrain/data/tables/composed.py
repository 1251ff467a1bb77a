"""Texts that are made of several columns of a row: parts between marks, and templates of columns."""

from __future__ import annotations

from collections.abc import Sequence

from plmtrain.data.tables.reader import Finding
from plmtrain.data.tables.table_files import Row
from plmtrain.errors import DataError
from plmtrain.settings.composed_texts import MarkSettings
from plmtrain.settings.tasks.base import SentenceTaskSettings
from plmtrain.settings.template import Template
from plmtrain.text.readers import SKIP


def columns_of(task: SentenceTaskSettings) -> dict[str, str]:
    """Return the columns that the texts of a task are made of, each with the setting that names it."""
    texts = {
        column: "task.joined" if name in task.joined else "task.text" for name in task.text for column in task.columns_of(name)
    }
    return {**texts, **{column: "task.marks" for mark in task.marks for column in mark.columns}}


def texts_of(row: Row, task: SentenceTaskSettings) -> tuple[str, ...]:
    """Return the texts that a task reads in a row.

    Raises:
        DataError: naming file and line, if a cell cannot be used.
    """
    return tuple(_text(row, name, task) for name in task.text)


def findings(texts: Sequence[tuple[str, ...]], task: SentenceTaskSettings) -> list[Finding]:
    """Return a warning of texts that are read without marks, since they do not have the part at its place.

    Args:
        texts: those of each example, in the order of ``task.text``.
        task: says which marks may be missing.
    """
    marks = [
        (place, (mark.before, mark.after))
        for mark in task.marks
        for place, name in enumerate(task.text)
        if mark.missing == "unmarked" and mark.text in task.columns_of(name)
    ]
    if not (bare := sum(any(part not in own[place] for place, parts in marks for part in parts) for own in texts)):
        return []
    what = f"{bare:,} of {len(texts):,} examples are read without a mark: the part is not at its place in the text"
    return [
        Finding(what, "task.marks", "correct their places, or leave such rows out: missing: error in the mark, data.on_bad=skip")
    ]


def _text(row: Row, name: str, task: SentenceTaskSettings) -> str:
    parts = {column: _marked(row, column, task.marks) for column in task.columns_of(name)}
    return Template.parsed(task.joined[name]).filled(parts) if name in task.joined else parts[name]


def _marked(row: Row, column: str, marks: Sequence[MarkSettings]) -> str:
    """Return the text of a column with its marks."""
    text = row.text(column)
    places = ((_span(row, text, mark), mark.before, mark.after) for mark in marks if mark.text == column)
    spans = sorted((span, before, after) for span, before, after in places if span is not None)
    pieces, reached = [], 0
    for (start, end), before, after in spans:
        if start < reached:
            raise DataError(f"two parts that are to be marked in column '{column}' overlap", row.where, SKIP)
        pieces += [text[reached:start], before, text[start:end], after]
        reached = end
    return "".join([*pieces, text[reached:]])


def _span(row: Row, text: str, mark: MarkSettings) -> tuple[int, int] | None:
    """Return the first character of a part of a text, and the one after it; None if it is not there, and need not be."""
    start = _whole(row, mark.start)
    if mark.words is not None:
        return _of_words(row, text, start, mark)
    assert mark.end is not None
    end = _whole(row, mark.end) + mark.inclusive
    if not 0 <= start < end <= len(text):
        if mark.missing == "unmarked":
            return None
        what = f"'{mark.start}' and '{mark.end}' are the characters {start} to {end - mark.inclusive}"
        raise DataError(f"{what}, and '{mark.text}' has {len(text)}", row.where, SKIP)
    return start, end


def _of_words(row: Row, text: str, first: int, mark: MarkSettings) -> tuple[int, int] | None:
    """Return the characters of some words, given the number of words before them."""
    assert mark.words is not None
    words, place = row.text(mark.words).strip(), 0
    for word in text.split()[: max(first, 0)]:
        place = text.index(word, place) + len(word)
    start = place + len(text[place:]) - len(text[place:].lstrip())
    end = start + len(words)
    if first < 0 or not words or text[start:end].casefold() != words.casefold():
        if mark.missing == "unmarked":
            return None
        there = f"'{text[start:end]}' is there" if text[start:end] else "the text has ended there"
        raise DataError(f"'{words[:40]}' is not at word {first} of column '{mark.text}': {there}", row.where, SKIP)
    return start, end


def _whole(row: Row, column: str) -> int:
    number = row.number(column)
    if not number.is_integer():
        raise DataError(f"column '{column}' should be a whole number, but is {number:g}", row.where, SKIP)
    return int(number)
