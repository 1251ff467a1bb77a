"""Questions to a learner, from lines or from tables, of a file or of standard input."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Literal

from plmtrain.data.tables import table_files
from plmtrain.data.tables.table_files import FORMATS, Row
from plmtrain.errors import DataError
from plmtrain.settings.data import TableSettings
from plmtrain.text.json_objects import Lines
from plmtrain.text.readers import Skips, decompressed, ending, lines, lines_of

Format = Literal["auto", "text", "tsv", "csv", "jsonl", "parquet", "squad", "conll", "conllu"]
"""How questions are read: one a line (``text``), from a table, or as the ending of the file says (``auto``)."""

_READING = TableSettings(on_bad="skip")


@dataclass(frozen=True)
class Question:
    """A question to a learner.

    Args:
        text: the question, as the learner's answering reads it.
        place: its file and line; empty for an argument of the command.
        cells: the row of the table that it is from, by column; None for a line of text.
    """

    text: str
    place: str = ""
    cells: Mapping[str, object] | None = None


Asked = Callable[[Row], str]
"""A function that returns the text of the question in a row."""


def from_file(
    path: Path,
    format: Format,
    columns: Mapping[str, str],
    asked: Asked,
    skips: Skips,
    endings: Mapping[str, str] = FORMATS,
    names: tuple[str, ...] = (),
) -> Iterator[Question]:
    """Yield the questions of a file, gzipped or not.

    Args:
        path: the file.
        format: of the file.
        columns: the columns of a question in a table, each with what names it, in messages.
        asked: reads a row.
        skips: counts what cannot be read.
        endings: the formats of files by their endings.
        names: of all columns of a table without a header.

    Raises:
        DataError: if the file cannot be read, or is a table without such a column.
    """
    kind = endings.get(ending(path), "text") if format == "auto" else format
    reading = _READING.model_copy(update={"columns": names, "format": kind})
    if kind == "parquet":
        yield from _of_rows(table_files.read(path, columns, reading, skips), asked, skips)
    else:
        yield from _of_lines(lines(path, reading, skips), str(path), kind, columns, asked, skips, reading)


def from_stream(
    stream: BufferedReader,
    source: str,
    format: Format,
    columns: Mapping[str, str],
    asked: Asked,
    skips: Skips,
    names: tuple[str, ...] = (),
) -> Iterator[Question]:
    """Yield the questions of standard input; arguments and errors as for ``from_file``.

    Args:
        stream: gzipped or not.
        source: its name in messages.
    """
    if format == "parquet":
        raise DataError("parquet cannot be read from a stream", source, "write it to a file, and name this with --file")
    kind = "text" if format == "auto" else format
    reading = _READING.model_copy(update={"columns": names})
    yield from _of_lines(lines_of(decompressed(stream), source, reading, skips), source, kind, columns, asked, skips, reading)


def _of_lines(
    stream: Lines,
    source: str,
    kind: str,
    columns: Mapping[str, str],
    asked: Asked,
    skips: Skips,
    reading: TableSettings,
) -> Iterator[Question]:
    if kind == "text":
        yield from (Question(line, f"{source}:{number}") for number, line in stream)
    else:
        yield from _of_rows(table_files.read_lines(stream, source, kind, columns, reading, skips), asked, skips)


def _of_rows(rows: Iterator[Row], asked: Asked, skips: Skips) -> Iterator[Question]:
    for row in rows:
        try:
            yield Question(asked(row), row.where, row.cells)
        except DataError as error:
            skips.add(error)
