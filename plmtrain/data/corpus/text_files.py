"""The documents of one file of a corpus: text, JSON lines, or a table with a column of texts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from plmtrain.data.tables import table_files
from plmtrain.errors import DataError
from plmtrain.settings.data import DataSettings, TableSettings
from plmtrain.text import readers
from plmtrain.text.readers import Document, Skips


def read(path: Path, data: DataSettings, skips: Skips) -> Iterator[Document]:
    """Yield the documents of a file, in order.

    Args:
        path: the file.
        data: how it is read: its ``type``, and what names the text.
        skips: counts what ``on_bad=skip`` omits.

    Raises:
        DataError: with file and line, for what cannot be read, and for a file without text.
    """
    if data.type in ("csv", "parquet"):
        yield from _of_table(path, data, skips)
    else:
        yield from readers.read(path, data, skips)


def _of_table(path: Path, data: DataSettings, skips: Skips) -> Iterator[Document]:
    readers.require_kind(path, data.type)
    table = TableSettings(format=_format(path, data), columns=data.columns, separator=data.separator, on_bad=data.on_bad)
    skipped_before, empty = skips.count, True
    rows = table_files.read_column(path, data.text_column, "data.text_column", table, skips)
    for number, row in enumerate(rows, start=1):
        try:
            text = row.text(data.text_column)
        except DataError as error:
            readers.bad(error, data, skips)
            continue
        if text and not text.isspace():
            empty = False
            yield Document(text.strip("\r\n"), str(path), number)
    if empty and skips.count == skipped_before:
        readers.bad(DataError("there is no text in this file", str(path), readers.SKIP_FILE), data, skips)


def _format(path: Path, data: DataSettings) -> str:
    if data.type == "csv" and table_files.FORMATS.get(readers.ending(path)) == "tsv":
        return "tsv"
    return data.type
