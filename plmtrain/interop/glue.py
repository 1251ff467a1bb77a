"""GLUE's own folders, as the zip files of gluebenchmark.com unpack (Wang et al. 2018): TSV files of one folder a task.

They are read by the names of the columns that the dataset on the hub has, so that a task's YAML fits both.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from plmtrain.data.tables.table_files import Row, named, read_lines
from plmtrain.settings.data import TableSettings
from plmtrain.settings.tasks.base import TaskSettings
from plmtrain.text.readers import Skips, lines


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The files of a task.

    Args:
        folder: its name in the zip file.
        columns: for columns of the dataset on the hub, the file's own names where they differ.
        labels: the names of the classes by number, if the files have numbers.
        header: the columns, if the files do not name them.
    """

    folder: str
    columns: Mapping[str, str] = field(default_factory=dict)
    labels: tuple[str, ...] = ()
    header: tuple[str, ...] = ()


LAYOUTS: Mapping[str, Layout] = {
    "cola": Layout(folder="CoLA", header=("source", "label", "mark", "sentence"), labels=("unacceptable", "acceptable")),
    "sst2": Layout(folder="SST-2", labels=("negative", "positive")),
    "mrpc": Layout(
        folder="MRPC",
        columns={"sentence1": "#1 String", "sentence2": "#2 String", "label": "Quality"},
        labels=("not_equivalent", "equivalent"),
    ),
    "qqp": Layout(folder="QQP", columns={"label": "is_duplicate"}, labels=("not_duplicate", "duplicate")),
    "stsb": Layout(folder="STS-B", columns={"label": "score"}),
    "mnli": Layout(folder="MNLI", columns={"premise": "sentence1", "hypothesis": "sentence2", "label": "gold_label"}),
    "qnli": Layout(folder="QNLI"),
    "rte": Layout(folder="RTE"),
    "wnli": Layout(folder="WNLI", labels=("not_entailment", "entailment")),
}
"""By the name of the subset on the hub."""

_FILES = {
    "validation": "dev.tsv",
    "validation_matched": "dev_matched.tsv",
    "validation_mismatched": "dev_mismatched.tsv",
}


def glue_file(task: TaskSettings, split: str) -> Path | None:
    """Return the file of a split in the folder of a task of GLUE, or in the folder above it; None if there is none."""
    layout = LAYOUTS.get(task.subset or "")
    if layout is None or task.folder is None:
        return None
    folder, name = Path(task.folder).expanduser(), _FILES.get(split, f"{split}.tsv")
    return next((place / name for place in (folder / layout.folder, folder) if (place / name).is_file()), None)


class GlueFile:
    """One split of a task, in the file that GLUE gives out.

    Args:
        path: the file.
        layout: of the task.
        data: whether bad rows stop the reading.
        skips: counts those that do not.
    """

    def __init__(self, path: Path, layout: Layout, data: TableSettings, skips: Skips) -> None:
        self.name = str(path)
        self._path, self._layout, self._data, self._skips = path, layout, data, skips

    def labels(self, column: str) -> tuple[str, ...]:
        """Return the names of the classes of a column, in the order of their numbers; none if the file has names."""
        return self._layout.labels if column == "label" else ()

    def read(self, columns: Mapping[str, str]) -> Iterator[Row]:
        """Yield the rows with the columns of the dataset on the hub, and class numbers replaced by their names.

        Args:
            columns: the required columns, each with the setting that names it.

        Raises:
            DataError: if one is missing, or a row cannot be read.
        """
        layout = self._layout
        data = self._data.model_copy(update={"columns": layout.header})
        stream = lines(self._path, data, self._skips)
        theirs = {layout.columns.get(column, column): setting for column, setting in columns.items()}
        for row in read_lines(stream, self.name, "tsv", theirs, data, self._skips):
            cells = {column: row.cells[layout.columns.get(column, column)] for column in columns}
            yield Row(row.where, {column: self._named(column, cell, row.where) for column, cell in cells.items()})

    def _named(self, column: str, cell: object, where: str) -> object:
        whole = isinstance(cell, str) and cell.strip().isdecimal()
        return named(int(str(cell)), self.labels(column), where) if whole and self.labels(column) else cell
