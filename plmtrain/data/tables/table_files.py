"""Tables of labelled texts: TSV, CSV and JSON lines, gzipped or not; whatever is wrong is told with its file and line.

TSV has no quotes, as GLUE's files and most people's have none: a cell is what stands between two tabs. CSV has them (RFC 4180),
and cells of several lines with them.
"""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from plmtrain.errors import DataError, nearest
from plmtrain.settings.data import TableSettings
from plmtrain.text.readers import SKIP, Skips, bad, json_problem, kind, lines, unusable

_ENDINGS = {".tsv": "tsv", ".tab": "tsv", ".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}
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

    def label(self, column: str) -> str:
        """A cell that must be a label: a word or a whole number, as text.

        Raises:
            DataError: if it is none.
        """
        value = self.cells[column]
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, int):
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
        elif isinstance(value, str) and _NUMBER.fullmatch(value.strip()) and math.isfinite(number := float(value)):
            return number
        actual = (f"'{value.strip()[:60]}'" if value.strip() else "empty") if isinstance(value, str) else kind(value)
        if isinstance(value, int | float) and not isinstance(value, bool):
            actual = "not finite"
        raise DataError(f"column '{column}' should be a number, but is {actual}", self.where, SKIP)


def read(path: Path, columns: Mapping[str, str], data: TableSettings, skips: Skips) -> Iterator[Row]:
    """The rows of a file, in order.

    Args:
        path: the file.
        columns: those that must be there, each with the setting that names it.
        data: the format, and whether bad rows stop the reading.
        skips: where those that do not are counted.

    Raises:
        DataError: for a file of another kind or without rows, a missing column (it names those there are), a row with more or
            fewer cells than the header, and what is no UTF-8 text, no JSON or no gzip.
    """
    rows = _READERS[_format(path, data)](path, columns, data, skips)
    before, empty = skips.count, True
    for row in rows:
        empty = False
        yield row
    if empty and skips.count == before:
        remedy = "a header and rows were expected" if _format(path, data) != "jsonl" else "a JSON object a line was expected"
        raise DataError("there is no row in this file", str(path), remedy)


def _format(path: Path, data: TableSettings) -> str:
    if data.format != "auto":
        return data.format
    ending = Path(path.name.removesuffix(".gz")).suffix.lower()
    if ending not in _ENDINGS:
        raise DataError(
            f"what kind of table this is cannot be seen from its ending '{ending}'",
            str(path),
            "say it with data.format=tsv, csv or jsonl",
        )
    return _ENDINGS[ending]


def _tsv(path: Path, columns: Mapping[str, str], data: TableSettings, skips: Skips) -> Iterator[Row]:
    # The csv module's QUOTE_NONE, but for cells with a lone carriage return in them, which it refuses.
    cells = ((number, line.split("\t")) for number, line in lines(path, data, skips) if line and not line.isspace())
    yield from _under_header(path, cells, columns, data, skips)


def _csv(path: Path, columns: Mapping[str, str], data: TableSettings, skips: Skips) -> Iterator[Row]:
    yield from _under_header(path, _csv_cells(path, data, skips), columns, data, skips)


def _csv_cells(path: Path, data: TableSettings, skips: Skips) -> Iterator[tuple[int, list[str]]]:
    """The cells of each row with the line that it begins at."""
    read_to = 0

    def text() -> Iterator[str]:
        nonlocal read_to
        for number, line in lines(path, data, skips):
            read_to = number
            yield f"{line}\n"

    csv.field_size_limit(_LONGEST_CELL)
    reader = csv.reader(text(), strict=True)
    while True:
        begins = read_to + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            remedy = "double the quotes inside a quoted cell, or say data.format=tsv if there are none around cells"
            raise DataError(f"this is no CSV: {error}", f"{path}:{begins}", remedy) from None
        if cells:
            yield begins, cells


def _under_header(
    path: Path, rows: Iterator[tuple[int, list[str]]], columns: Mapping[str, str], data: TableSettings, skips: Skips
) -> Iterator[Row]:
    """Rows with the cells named by the first one."""
    number, header = next(rows, (1, []))
    header = [name.strip() for name in header]
    if not header:
        return
    if len(set(header)) < len(header):
        twice = next(name for name in header if header.count(name) > 1)
        raise DataError(f"two columns are called '{twice}'", f"{path}:{number}", "rename one of them")
    for column, setting in columns.items():
        if column not in header:
            raise _missing(column, setting, header, f"{path}:{number}", "the header's")
    for number, cells in rows:
        where = f"{path}:{number}"
        if len(cells) == len(header):
            yield Row(where, dict(zip(header, cells, strict=True)))
        else:
            what = f"this row has {len(cells)} cells, and the header {len(header)}"
            bad(DataError(what, where, SKIP), data, skips)


def _jsonl(path: Path, columns: Mapping[str, str], data: TableSettings, skips: Skips) -> Iterator[Row]:
    for number, line in lines(path, data, skips):
        if not line or line.isspace():
            continue
        where = f"{path}:{number}"
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            bad(
                DataError(f"this is no whole line of JSON: {json_problem(error)}", where, f"a JSON object was expected; {SKIP}"),
                data,
                skips,
            )
            continue
        if not isinstance(value, dict):
            bad(DataError(f"a JSON object was expected, but this is {kind(value)}", where, SKIP), data, skips)
            continue
        absent = next(((column, setting) for column, setting in columns.items() if column not in value), None)
        if absent is not None:
            bad(_missing(*absent, list(value), where, "this line's"), data, skips)
        else:
            yield Row(where, value)


def _missing(column: str, setting: str, there: Sequence[str], where: str, whose: str) -> DataError:
    remedy = f"{setting}: {nearest(column, there)}" if there else f"set {setting}"
    return DataError(f"there is no column '{column}'; {whose} columns: {', '.join(map(str, there)) or 'none'}", where, remedy)


_READERS: Mapping[str, Callable[[Path, Mapping[str, str], TableSettings, Skips], Iterator[Row]]] = {
    "tsv": _tsv,
    "csv": _csv,
    "jsonl": _jsonl,
}
