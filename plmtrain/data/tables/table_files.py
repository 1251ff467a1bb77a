"""Tables of labelled texts: TSV, CSV, JSON, parquet, CoNLL and SQuAD's JSON; whatever is wrong is told with its file and line.

TSV has no quotes, as GLUE's files and most people's have none: a cell is what stands between two tabs. CSV has them (RFC 4180),
and cells of several lines with them. CoNLL's files have a word a line, with its tags beside it, and a blank line after each
sentence: a sentence is a row, and its cells are lists. All but parquet may be compressed.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from plmtrain.data.tables.class_names import class_names, named
from plmtrain.data.tables.conll_files import sentences_in, words_in
from plmtrain.data.tables.inner import with_inner
from plmtrain.data.tables.squad_files import questions_in
from plmtrain.errors import DataError, nearest
from plmtrain.settings.data import TableSettings
from plmtrain.text.json_objects import Lines, json_objects, kind
from plmtrain.text.readers import SKIP, Skips, bad, ending, lines, unusable

FORMATS = {
    ".tsv": "tsv",
    ".tab": "tsv",
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".parquet": "parquet",
    ".conll": "conll",
    ".conll03": "conll",
    ".iob": "conll",
    ".iob2": "conll",
    ".bio": "conll",
    ".conllu": "conllu",
}
"""The formats of tables by the endings of files."""

_ROWS_AT_ONCE = 1024
"""The rows of a parquet file that are in memory at a time."""
_LONGEST_CELL = 2**24  # characters
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
"""Numbers as ``float`` reads them, but for ``nan``, ``inf`` and underscores."""


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Args:
        where: its file and line.
        cells: by column; text, or what a JSON line has there.
    """

    where: str
    cells: Mapping[str, object]

    def text(self, column: str) -> str:
        """A cell that must be text.

        Raises:
            DataError: if it is none.
        """
        value = self.cells[column]
        if not isinstance(value, str):
            raise DataError(f"column '{column}' should be text, but is {kind(value)}", self.where, SKIP)
        if problem := unusable(value):
            raise DataError(f"column '{column}' has {problem} in it", self.where, SKIP)
        return value

    def words(self, column: str) -> tuple[str, ...]:
        """Return a cell that must be a list of words, or text with white space between words.

        Raises:
            DataError: if it is none, or if it has a word without a letter.
        """
        value = self.cells[column]
        words = value.split() if isinstance(value, str) else value
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise DataError(f"column '{column}' should be a list of words, but is {kind(value)}", self.where, SKIP)
        for number, word in enumerate(words, start=1):
            if not word.strip():
                raise DataError(f"word {number} in column '{column}' is empty", self.where, SKIP)
            if problem := unusable(word):
                raise DataError(f"word {number} in column '{column}' has {problem} in it", self.where, SKIP)
        return tuple(words)

    def characters(self, column: str) -> tuple[str, ...]:
        """Return the characters of a cell that must be text or a list of them, white space included.

        Raises:
            DataError: if it is neither.
        """
        value = self.cells[column]
        characters = list(value) if isinstance(value, str) else value
        if not isinstance(characters, list) or not all(isinstance(one, str) and len(one) == 1 for one in characters):
            raise DataError(f"column '{column}' should be text or a list of characters, but is {kind(value)}", self.where, SKIP)
        return tuple(Row(self.where, {column: "".join(characters)}).text(column))

    def label(self, column: str) -> str:
        """A cell that must be a label: a word or a number, as text; 1.0 in JSON is the label ``1.0``, as in a CSV.

        Raises:
            DataError: if it is none.
        """
        value = self.cells[column]
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
            return str(value)
        if isinstance(value, str) and value.strip() and not unusable(value):
            return value.strip()
        actual = "empty" if isinstance(value, str) else kind(value)
        raise DataError(f"column '{column}' should be a label, but is {actual}", self.where, SKIP)

    def number(self, column: str) -> float:
        """Return a cell that must be a finite number, written with a point.

        Raises:
            DataError: if it is none.
        """
        value = self.cells[column]
        if isinstance(value, int | float) and not isinstance(value, bool):
            with suppress(OverflowError):
                if math.isfinite(number := float(value)):
                    return number
        elif isinstance(value, str) and (written := number_in(value)) is not None:
            return written
        actual = (f"'{value.strip()[:60]}'" if value.strip() else "empty") if isinstance(value, str) else kind(value)
        if isinstance(value, int | float) and not isinstance(value, bool):
            actual = "not finite"
        raise DataError(f"column '{column}' should be a number, but is {actual}", self.where, SKIP)


def number_in(text: str) -> float | None:
    """Return the finite number that a text is, written with a point; None if it is none."""
    return number if _NUMBER.fullmatch(text.strip()) and math.isfinite(number := float(text)) else None


def read(
    path: Path, columns: Mapping[str, str], data: TableSettings, skips: Skips, endings: Mapping[str, str] = FORMATS
) -> Iterator[Row]:
    """The rows of a file, in order.

    Args:
        path: the file.
        columns: those that must be there, each with the setting that names it.
        data: the format, and whether bad rows stop the reading.
        skips: where those that do not are counted.
        endings: the formats of files by their endings.

    Raises:
        DataError: for a file of another kind or without rows, a missing column (it names those there are), a row with more or
            fewer cells than the header, and what is no UTF-8 text, no JSON, no parquet or no gzip.
    """
    if (kind := format_of(path, data, endings)) == "parquet":
        _refuse_columns(data, kind, str(path))
        yield from _some(_parquet(path, columns, None), str(path), kind, skips)
    else:
        yield from read_lines(lines(path, data, skips), str(path), kind, columns, data, skips)


def read_lines(
    stream: Lines, source: str, kind: str, columns: Mapping[str, str], data: TableSettings, skips: Skips
) -> Iterator[Row]:
    """The rows in the lines of a file or of standard input; ``columns``, ``data``, ``skips`` and errors as for ``read``.

    Args:
        stream: the lines, from ``lines`` or ``lines_of``.
        source: their name in messages.
        kind: ``tsv``, ``csv``, ``jsonl``, ``conll``, ``conllu`` or ``squad``.
    """
    _refuse_columns(data, kind, source)
    yield from _some(_READERS[kind](source, stream, columns, data, skips), source, kind, skips)


def _refuse_columns(data: TableSettings, kind: str, source: str) -> None:
    """Refuse names for the columns of a file that names its own."""
    if data.columns and kind in ("jsonl", "parquet", "conllu"):
        what = "data.columns names the columns of a file without a header, and this one names its own"
        raise DataError(what, source, "omit data.columns, or say how the file is read: data.format=tsv, csv or conll")


def read_column(path: Path, column: str, setting: str, data: TableSettings, skips: Skips) -> Iterator[Row]:
    """Yield the rows of a file with a single column; of a parquet file nothing else is read.

    Args:
        path, data, skips: as for ``read``.
        column: its name.
        setting: that names it.

    Raises:
        DataError: as for ``read``.
    """
    if format_of(path, data) == "parquet":
        yield from _some(_parquet(path, {column: setting}, [column]), str(path), "parquet", skips)
    else:
        yield from read(path, {column: setting}, data, skips)


def _some(rows: Iterator[Row], source: str, kind: str, skips: Skips) -> Iterator[Row]:
    """Refuse a file without rows."""
    before, empty = skips.count, True
    for row in rows:
        empty = False
        yield row
    if empty and skips.count == before:
        remedy = _EXPECTED.get(kind, "a header and rows were expected")
        raise DataError("there is no row in this file", source, remedy)


def format_of(path: Path, data: TableSettings, endings: Mapping[str, str] = FORMATS) -> str:
    """Return the format of a file: the one that the settings name, or that of its ending.

    Raises:
        DataError: if the ending is that of no table.
    """
    if data.format != "auto":
        return data.format
    if (name := ending(path)) not in endings:
        raise DataError(
            f"what kind of table this is cannot be seen from its ending '{name}'",
            str(path),
            "say it with data.format=tsv, csv, jsonl, parquet, conll or squad",
        )
    return endings[name]


def _tsv(source: str, stream: Lines, columns: Mapping[str, str], data: TableSettings, skips: Skips) -> Iterator[Row]:
    # The csv module's QUOTE_NONE, but for cells with a lone carriage return in them, which it refuses.
    separator = data.separator or "\t"
    cells = ((number, line.split(separator)) for number, line in stream if line and not line.isspace())
    yield from _under_header(source, cells, columns, data, skips)


def _csv(source: str, stream: Lines, columns: Mapping[str, str], data: TableSettings, skips: Skips) -> Iterator[Row]:
    yield from _under_header(source, _csv_cells(source, stream, data.separator or ","), columns, data, skips)


def _csv_cells(source: str, stream: Lines, separator: str) -> Iterator[tuple[int, list[str]]]:
    """The cells of each row with the line that it begins at."""
    read_to = 0

    def text() -> Iterator[str]:
        nonlocal read_to
        for number, line in stream:
            read_to = number
            yield f"{line}\n"

    csv.field_size_limit(_LONGEST_CELL)
    reader = csv.reader(text(), delimiter=separator, strict=True)
    while True:
        begins = read_to + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            remedy = "double the quotes inside a quoted cell, or say data.format=tsv if there are none around cells"
            raise DataError(f"this is no CSV: {error}", f"{source}:{begins}", remedy) from None
        if cells:
            yield begins, cells


def _under_header(
    source: str, rows: Iterator[tuple[int, list[str]]], columns: Mapping[str, str], data: TableSettings, skips: Skips
) -> Iterator[Row]:
    """Rows with the cells named by the settings, or by the first one."""
    if data.columns:
        number, header, whose = 1, list(data.columns), "data.columns"
    else:
        number, first = next(rows, (1, []))
        header, whose = [name.strip() for name in first], "the header"
    if not header:
        return
    if len(set(header)) < len(header):
        twice = next(name for name in header if header.count(name) > 1)
        raise DataError(f"two columns are called '{twice}'", f"{source}:{number}", "rename one of them")
    for column, setting in columns.items():
        if column not in header:
            raise _missing(column, setting, header, f"{source}:{number}", whose if data.columns else "the header's columns")
    for number, cells in rows:
        where = f"{source}:{number}"
        if len(cells) == len(header):
            yield Row(where, dict(zip(header, cells, strict=True)))
        else:
            what = f"this row has {len(cells)} cells, and {whose} {len(header)}"
            bad(DataError(what, where, SKIP), data, skips)


def _jsonl(source: str, stream: Lines, columns: Mapping[str, str], data: TableSettings, skips: Skips) -> Iterator[Row]:
    refuse = partial(bad, data=data, skips=skips)
    objects = json_objects(source, stream, f"a JSON object was expected; {SKIP}", refuse)
    yield from _complete(
        ((where, with_inner(cells, columns)) for _, where, cells in objects), columns, "this line's columns", refuse
    )


def _squad(source: str, stream: Lines, columns: Mapping[str, str], data: TableSettings, skips: Skips) -> Iterator[Row]:
    refuse = partial(bad, data=data, skips=skips)
    yield from _complete(questions_in(source, stream, refuse), columns, "the question's columns", refuse)


def _conll(source: str, stream: Lines, columns: Mapping[str, str], data: TableSettings, skips: Skips) -> Iterator[Row]:
    rows = sentences_in(source, stream, data.columns, data.separator, partial(bad, data=data, skips=skips))
    yield from _complete(rows, columns, "the file's columns", _stop)


def _conllu(source: str, stream: Lines, columns: Mapping[str, str], data: TableSettings, skips: Skips) -> Iterator[Row]:
    yield from _complete(words_in(source, stream, partial(bad, data=data, skips=skips)), columns, "the file's columns", _stop)


def _complete(
    rows: Iterator[tuple[str, Mapping[str, object]]],
    columns: Mapping[str, str],
    whose: str,
    refuse: Callable[[DataError], None],
) -> Iterator[Row]:
    """Yield those rows that have all columns; the others are refused."""
    for where, cells in rows:
        absent = next(((column, setting) for column, setting in columns.items() if column not in cells), None)
        if absent is not None:
            refuse(_missing(*absent, list(cells), where, whose))
        else:
            yield Row(where, cells)


def _stop(error: DataError) -> None:
    raise error


def _parquet(path: Path, columns: Mapping[str, str], wanted: Sequence[str] | None) -> Iterator[Row]:
    """Rows of a parquet file, with all columns or the wanted ones; the numbers of classes are replaced by the names that the file
    itself gives them."""
    import pyarrow
    from pyarrow import parquet

    number = 0
    try:
        with parquet.ParquetFile(path) as file:
            there = file.schema_arrow.names
            for column, setting in columns.items():
                if column not in there and column.partition(".")[0] not in there:
                    raise _missing(column, setting, there, str(path), "the file's columns")
            known = class_names(file.schema_arrow.metadata or {})
            names = {column: known.get(column, ()) for column in columns}
            for batch in file.iter_batches(_ROWS_AT_ONCE, columns=wanted):
                for cells in batch.to_pylist():
                    number += 1
                    where, own = f"{path}, row {number}", with_inner(cells, columns)
                    if absent := [column for column in columns if column not in own]:
                        raise _missing(absent[0], columns[absent[0]], list(own), where, "this row's columns")
                    yield Row(where, {name: named(value, names.get(name, ()), where) for name, value in own.items()})
    except (pyarrow.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"this parquet file cannot be read: {reason}", str(path), "copy it again, or write it anew") from None


def _missing(column: str, setting: str, there: Sequence[str], where: str, whose: str) -> DataError:
    remedy = f"{setting}: {nearest(column, there)}" if there else f"set {setting}"
    return DataError(f"there is no column '{column}'; {whose}: {', '.join(map(str, there)) or 'none'}", where, remedy)


_READERS: Mapping[str, Callable[[str, Lines, Mapping[str, str], TableSettings, Skips], Iterator[Row]]] = {
    "tsv": _tsv,
    "csv": _csv,
    "jsonl": _jsonl,
    "conll": _conll,
    "conllu": _conllu,
    "squad": _squad,
}
_EXPECTED = {
    "jsonl": "a JSON object a line was expected",
    "conll": "a word a line, with its tag, was expected",
    "conllu": "a word a line, in ten columns, was expected",
    "squad": "questions about paragraphs were expected, or a JSON object a line",
}
