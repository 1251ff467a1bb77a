"""Submissions to gluebenchmark.com: a zip file with a model's answers for the test part of each task of GLUE."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from plmtrain.data.tables.table_files import Row
from plmtrain.errors import DataError, SettingsError
from plmtrain.files import atomic_file
from plmtrain.interop.glue import TEST_PARTS, TestPart, submitted
from plmtrain.interop.hub import dataset_of
from plmtrain.programs.task import TaskAnswering
from plmtrain.runs.asked import Asked
from plmtrain.settings.data import TableSettings
from plmtrain.settings.tasks.base import TaskSettings
from plmtrain.stopping import safe_point
from plmtrain.text.readers import Skips

_NO_TIME = (1980, 1, 1, 0, 0, 0)
"""The time of all files in the zip file, so that equal answers make an equal one."""


def test_answers(model: Asked, folder: Path, batch_size: int) -> Iterator[tuple[str, str]]:
    """Yield each file of a submission that the model of a run fills, with its text.

    Args:
        model: of the run.
        folder: the run's, for messages.
        batch_size: the examples that are answered at a time.

    Raises:
        SettingsError: if the run is not one of GLUE's tasks, from the dataset or a copy of it.
        DataError: if a test part cannot be read.
    """
    answering = model.answering
    task: Any = getattr(answering, "settings", None)
    subset = task.subset if isinstance(task, TaskSettings) else None
    if not isinstance(answering, TaskAnswering) or subset is None or subset not in TEST_PARTS:
        remedy = f"name a run of a task of GLUE: {', '.join(f'glue/{name}' for name in sorted(TEST_PARTS))}"
        raise SettingsError("this run has no test part to submit", str(folder), remedy)
    for part in TEST_PARTS[subset]:
        answers = [answer for rows in _batches(answering, task, part, batch_size) for answer in _answered(model, rows)]
        yield part.file, submitted(answers, task)


def _batches(answering: TaskAnswering[Any], task: TaskSettings, part: TestPart, size: int) -> Iterator[list[str]]:
    """Yield the questions of a test part in groups."""
    own = task.model_copy(update={"subset": part.subset})
    batch: list[str] = []
    for row in dataset_of(own, part.split, TableSettings(), Skips()).read(answering.columns):
        batch.append(answering.asked(_with_text(row, answering.columns)))
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _with_text(row: Row, columns: Mapping[str, str]) -> Row:
    """Refuse a row without a text: every row of a test part must have an answer."""
    for column in columns:
        row.text(column)
    return row


def _answered(model: Asked, questions: list[str]) -> Iterator[Mapping[str, Any]]:
    safe_point()
    rows = model.answering.questions(questions, model.tokenizer)
    yield from (answer.values for answer in model.answers(questions, rows))


def add_to_zip(path: Path, files: Mapping[str, str]) -> list[str]:
    """Write files into a zip file, in place of those of the same names; the others stay.

    Args:
        path: of the zip file, which is made if it does not exist.
        files: the text of each.

    Returns:
        The names of all files in it.

    Raises:
        DataError: if something else exists at the path.
        DiskError: if the disk refuses.
    """
    try:
        if path.exists():
            with zipfile.ZipFile(path) as there:
                files = {**{name: there.read(name).decode() for name in there.namelist()}, **files}
    except (zipfile.BadZipFile, OSError, UnicodeDecodeError) as error:
        raise DataError(f"this is no zip file of predictions: {error}", str(path), "name another file") from None
    with atomic_file(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as made:
        for name in sorted(files):
            made.writestr(zipfile.ZipInfo(name, _NO_TIME), files[name], zipfile.ZIP_DEFLATED)
    return sorted(files)
