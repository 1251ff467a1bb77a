"""Tables of answers: the rows of the questions as they were, with the columns of the answers behind them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from plmtrain.data.tables.table_files import FORMATS
from plmtrain.errors import DataError, SettingsError
from plmtrain.files import atomic_file
from plmtrain.text.readers import ending, unpacked

_WRITTEN = {name: kind for name, kind in FORMATS.items() if kind in ("tsv", "csv", "jsonl") and name != ".json"}


class AnswerFile:
    """A table that is being written; of TSV and CSV the first row decides the columns.

    Args:
        file: the open file.
        kind: ``tsv``, ``csv`` or ``jsonl``.
        source: its name in messages.
    """

    def __init__(self, file: IO[bytes], kind: str, source: str) -> None:
        self._file, self._kind, self._source = file, kind, source
        self._header: list[str] | None = None
        self.rows = 0

    def write(self, cells: Mapping[str, object], added: Mapping[str, object]) -> None:
        """Write a row.

        Args:
            cells: of the question.
            added: of the answer.

        Raises:
            DataError: if both have a column of one name, or if the format cannot hold the row.
        """
        if both := [name for name in added if name in cells]:
            raise DataError(f"the table has a column '{both[0]}' already", self._source, "rename it, and ask again")
        row = {**cells, **added}
        self.rows += 1
        if self._kind == "jsonl":
            self._file.write(f"{json.dumps(row, ensure_ascii=False, default=str)}\n".encode())
            return
        if self._header is None:
            self._header = list(row)
            self._write_line(self._header)
        if more := [name for name in row if name not in self._header]:
            raise self._impossible(
                f"row {self.rows} has a column '{more[0]}' that the first one does not have", "JSON lines: .jsonl"
            )
        self._write_line([_as_text(row.get(name)) for name in self._header])

    def _write_line(self, cells: list[str]) -> None:
        if self._kind == "tsv":
            if any("\t" in cell or "\n" in cell for cell in cells):
                raise self._impossible(f"row {self.rows} has a tab or a line end in a cell", "CSV: .csv")
            line = "\t".join(cells) + "\n"
        else:
            buffer = io.StringIO(newline="")
            csv.writer(buffer).writerow(cells)
            line = buffer.getvalue()
        self._file.write(line.encode())

    def _impossible(self, what: str, instead: str) -> DataError:
        return DataError(what, self._source, f"name a file of a format that can hold it, {instead}")


def _as_text(cell: object) -> str:
    """Return a cell as text: JSON for what is none, and nothing for what is missing."""
    return cell if isinstance(cell, str) else "" if cell is None else json.dumps(cell, ensure_ascii=False, default=str)


@contextmanager
def answer_file(path: Path) -> Iterator[AnswerFile]:
    """Write a table that appears when it is complete.

    Args:
        path: a file that does not exist yet; its ending decides the format.

    Raises:
        SettingsError: if something exists there, or if its ending is that of no such table.
        DiskError: if the disk refuses.
    """
    if (kind := _WRITTEN.get(ending(path))) is None or unpacked(path) != path.name:
        raise SettingsError(
            "what kind of table this is cannot be seen from its ending", f"--output {path}", "name a .tsv, .csv or .jsonl file"
        )
    if path.exists() or path.is_symlink():
        raise SettingsError("something exists at this path already", f"--output {path}", "name a file that does not exist yet")
    with atomic_file(path) as file:
        yield AnswerFile(file, kind, str(path))
