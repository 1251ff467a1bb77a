"""GLUE's own folders, as the zip files of gluebenchmark.com unpack (Wang et al. 2018): TSV files of one folder a task.

They are read by the names of the columns that the dataset on the hub has, so that a task's YAML fits both.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from plmtrain.data.tables.class_names import named
from plmtrain.data.tables.table_files import Row, read_lines
from plmtrain.settings.data import TableSettings
from plmtrain.settings.tasks.base import TaskSettings
from plmtrain.settings.tasks.regression import RegressionSettings
from plmtrain.text.readers import Skips, lines


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The files of a task.

    Args:
        folder: its name in the zip file.
        columns: for columns of the dataset on the hub, the file's own names where they differ.
        labels: the names of the classes by number, if the files have numbers.
        header: the columns, if the files do not name them; that of the test part does.
        test: the file of the test part.
    """

    folder: str
    columns: Mapping[str, str] = field(default_factory=dict)
    labels: tuple[str, ...] = ()
    header: tuple[str, ...] = ()
    test: str = "test.tsv"


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
    "ax": Layout(folder="diagnostic", columns={"premise": "sentence1", "hypothesis": "sentence2"}, test="diagnostic.tsv"),
}
"""By the name of the subset on the hub."""

_FILES = {
    "validation": "dev.tsv",
    "validation_matched": "dev_matched.tsv",
    "validation_mismatched": "dev_mismatched.tsv",
}


@dataclass(frozen=True)
class TestPart:
    """A part of GLUE whose right answers are not public.

    Args:
        file: the name of the file with its predictions, in what is submitted.
        subset: its name on the hub.
        split: its split on the hub.
    """

    file: str
    subset: str
    split: str = "test"


TEST_PARTS: Mapping[str, tuple[TestPart, ...]] = {
    **{subset: (TestPart(f"{layout.folder}.tsv", subset),) for subset, layout in LAYOUTS.items() if subset not in ("mnli", "ax")},
    "mnli": (
        TestPart("MNLI-m.tsv", "mnli", "test_matched"),
        TestPart("MNLI-mm.tsv", "mnli", "test_mismatched"),
        TestPart("AX.tsv", "ax"),
    ),
}
"""By the name of a task's subset on the hub, the parts that its model answers for a submission."""

_BY_NAME = frozenset({"mnli", "qnli", "rte"})
"""The tasks whose labels are submitted by name; those of the others by number."""


def submitted(answers: Sequence[Mapping[str, Any]], task: TaskSettings) -> str:
    """Return the predictions for a part as the site takes them: a header, and a number and a prediction a line.

    The site refuses a line without one: what a decoder wrote that is no label, or no number, is submitted as the first label, or
    as the lowest score.

    Args:
        answers: in the order of the part, with a ``label`` or a ``score``.
        task: says what they mean.
    """
    if isinstance(task, RegressionSettings):
        low, high = task.minimum or 0.0, 5.0 if task.maximum is None else task.maximum
        scores = (low if answer["score"] is None else answer["score"] for answer in answers)
        predictions = [f"{min(max(score, low), high):.3f}" for score in scores]
    else:
        labels: tuple[str, ...] = getattr(task, "labels", ())
        names = [labels[0] if answer["label"] is None else answer["label"] for answer in answers]
        predictions = names if task.subset in _BY_NAME else [str(labels.index(name)) for name in names]
    lines = [f"{number}\t{prediction}" for number, prediction in enumerate(predictions)]
    return "\n".join(["index\tprediction", *lines, ""])


def glue_file(task: TaskSettings, split: str) -> Path | None:
    """Return the file of a split in the folder of a task of GLUE, or in the folder above it; None if there is none."""
    layout = LAYOUTS.get(task.subset or "")
    if layout is None or task.folder is None:
        return None
    folder, name = Path(task.folder).expanduser(), (layout.test if split == "test" else _FILES.get(split, f"{split}.tsv"))
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
        data = self._data.model_copy(update={"columns": () if self._path.name.startswith("test") else layout.header})
        stream = lines(self._path, data, self._skips)
        theirs = {layout.columns.get(column, column): setting for column, setting in columns.items()}
        for row in read_lines(stream, self.name, "tsv", theirs, data, self._skips):
            cells = {column: row.cells[layout.columns.get(column, column)] for column in columns}
            yield Row(row.where, {column: self._named(column, cell, row.where) for column, cell in cells.items()})

    def _named(self, column: str, cell: object, where: str) -> object:
        whole = isinstance(cell, str) and cell.strip().isdecimal()
        return named(int(str(cell)), self.labels(column), where) if whole and self.labels(column) else cell
