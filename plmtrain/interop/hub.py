"""Labelled datasets of Hugging Face's hub, or folders with the same layout, by the ``datasets`` library; and GLUE's own folders.

Nothing is downloaded unless a task names a dataset and neither files nor a folder; a dataset's code is never run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from plmtrain.data.tables.class_names import named
from plmtrain.data.tables.inner import with_inner
from plmtrain.data.tables.table_files import Row
from plmtrain.errors import DataError, nearest
from plmtrain.files import require_regular
from plmtrain.interop.glue import LAYOUTS, GlueFile, glue_file
from plmtrain.settings.data import TableSettings
from plmtrain.settings.tasks.base import TaskSettings
from plmtrain.text.readers import Skips

_DATA = (".parquet", ".arrow", ".csv", ".json", ".jsonl")
"""The endings of files that the library reads."""
_LISTED = 8
"""The most names in a list of a folder's files."""


def dataset_of(task: TaskSettings, split: str, data: TableSettings, skips: Skips) -> Dataset | GlueFile:
    """Return a split of a dataset: from GLUE's own files where the folder has them, else by the library.

    Args:
        task: names the dataset or the folder.
        split: by the dataset's own name.
        data: whether bad rows of GLUE's files stop the reading.
        skips: counts those that do not.

    Raises:
        DataError: if there is none, or it cannot be read.
    """
    path = glue_file(task, split)
    return Dataset(task, split) if path is None else GlueFile(path, LAYOUTS[task.subset or ""], data, skips)


class Dataset:
    """One split of a dataset.

    Args:
        task: names the dataset or the folder.
        split: by the dataset's own name.

    Raises:
        DataError: if there is none, or it cannot be read.
    """

    def __init__(self, task: TaskSettings, split: str) -> None:
        parts = (task.folder or task.hub, task.subset, split)
        self.name = ", ".join(str(part) for part in parts if part is not None)
        with _library_errors(self.name):
            self._rows = _opened(task, split)

    def labels(self, column: str) -> tuple[str, ...]:
        """Return the names of the classes of a column of classes, or of lists of classes, in the order of their numbers; none for
        other columns."""
        feature = (self._rows.features or {}).get(column)
        return tuple(getattr(getattr(feature, "feature", feature), "names", None) or ())

    def read(self, columns: Mapping[str, str]) -> Iterator[Row]:
        """Yield the rows, with class numbers replaced by their names.

        Args:
            columns: the required columns, each with the setting that names it.

        Raises:
            DataError: if one is missing, or a label is not public.
        """
        names = {column: self.labels(column) for column in columns}
        number = 0
        with _library_errors(self.name):
            for number, row in enumerate(self._rows, start=1):
                where = f"{self.name}, row {number}"
                cells = with_inner(row, columns)
                for column, setting in columns.items():
                    if column not in cells:
                        there = ", ".join(cells)
                        what = f"there is no column '{column}'; the dataset's columns: {there}"
                        raise DataError(what, where, f"{setting}: {nearest(column, cells)}")
                yield Row(where, {name: named(value, names.get(name, ()), where) for name, value in cells.items()})
        if not number:
            raise DataError("this dataset has no rows", self.name, "use another split")


def _opened(task: TaskSettings, split: str) -> Any:
    from datasets import load_dataset

    if task.folder is None:
        return load_dataset(task.hub, task.subset, split=split, revision=task.revision)
    folder = Path(task.folder).expanduser()
    if not folder.is_dir():
        raise DataError("there is no such folder", f"task.folder={task.folder}", "name one with the dataset's layout")
    for path in folder.rglob("*"):
        if not path.is_dir():
            require_regular(path)  # the library would wait for a named pipe
    if task.subset is None:
        return _read_directly(folder, None, split)
    if (folder / task.subset).is_dir():
        return _read_directly(folder / task.subset, None, split)
    if (folder / "README.md").is_file():  # which may name the files of subsets
        return _read_directly(folder, task.subset, split)
    there = sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))
    if any((folder / name).is_file() and name.endswith(_DATA) for name in there):
        return _read_directly(folder, None, split)
    if task.subset in LAYOUTS and (folder / LAYOUTS[task.subset].folder).is_dir():
        there = sorted(entry.name for entry in (folder / LAYOUTS[task.subset].folder).iterdir())
        what = f"there is no {split} part in GLUE's own folder {LAYOUTS[task.subset].folder}"
        raise DataError(
            what,
            f"{folder / LAYOUTS[task.subset].folder}: {', '.join(there[:_LISTED])}",
            "copy it again: its zip file has dev.tsv",
        )
    own = f", or {LAYOUTS[task.subset].folder}/train.tsv as in GLUE's own files" if task.subset in LAYOUTS else ""
    raise DataError(
        f"there is no {task.subset} in this folder",
        f"task.folder={task.folder}: {', '.join(there[:_LISTED]) or 'it is empty'}{' ...' if len(there) > _LISTED else ''}",
        f"it should have {task.subset}/train-*.parquet as on the hub{own}",
    )


def _read_directly(folder: Path, subset: str | None, split: str) -> Any:
    """Read from the files: the library's cache on this machine would miss an edit."""
    from datasets import load_dataset

    return load_dataset(str(folder), subset, split=split, streaming=True)


@contextmanager
def _library_errors(name: str) -> Iterator[None]:
    """Report failures of the library in plmtrain's words."""
    try:
        yield
    except (DataError, GeneratorExit):
        raise
    except Exception as error:  # network, layout, parquet: the library raises many types
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        remedy = "without a connection: task.folder=FOLDER of a copy, or your own files, data.files=[train.tsv]"
        if "split" in reason.lower():
            remedy = (
                "name splits that are there, task.train_split= and task.validation_split=: of the same one a part is held out"
            )
        raise DataError(f"the dataset {name} cannot be read", reason, remedy) from error
