"""The outcome of a sweep's job, from the folder of its run: nothing in it is trusted, and nothing is imported that trains."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from plmtrain.errors import PlmtrainError
from plmtrain.json_files import DamagedJson, read_object
from plmtrain.settings.decode import settings_from_run
from plmtrain.settings.identity import kind_of
from plmtrain.settings.run import FinetuneSettings, RunSettings
from plmtrain.study.run_records import metrics_of, read_run
from plmtrain.study.sweep_record import Record
from plmtrain.training.run_folder import HELD_OUT, REVIEW, RunFolder

_MEASURED = ("objective", "data", "tokenizer")
"""The groups that decide what the validation loss of pretraining is measured on."""


def with_outcome(record: Record) -> Record:
    """Return a job's record with what its run came to: the metrics of its result, how it is judged, and whether it collapsed."""
    if not record.run:
        return record
    folder = Path(record.run)
    record = replace(record, metrics=metrics_of(folder))
    try:
        settings = settings_from_run(RunFolder(folder).config())
    except PlmtrainError:
        return record
    return replace(
        record,
        measure=f"val/{settings.measure}",
        higher=settings.higher_is_better,
        measures=_measures(settings),
        measured_on=_measured_on(folder, settings),
        collapsed=_collapsed(folder),
    )


def _measures(settings: RunSettings) -> tuple[str, ...]:
    """Return the metrics of a run's task, where a higher value of all is better; none for other runs."""
    if not isinstance(settings, FinetuneSettings) or not settings.higher_is_better:
        return ()
    names = getattr(settings.task, "metrics", (settings.task.selected,))
    return () if settings.task.lower_is_better & set(names) else tuple(f"val/{name}" for name in names)


def up_to_date(record: Record) -> Record:
    """Return a job's record after what happened to its run since: it may have been resumed by itself, or killed."""
    if record.state in ("finished", "waiting") or not record.run or not Path(record.run).is_dir():
        return record
    run = read_run(Path(record.run))
    if run.state == "finished":
        return with_outcome(replace(record, state="finished", exit_code=0, reason=""))
    under_way = record.state == "running" and run.state not in ("running", "preparing")
    return replace(record, state=run.state, reason=run.reason) if under_way else record


def _measured_on(folder: Path, settings: RunSettings) -> str:
    """Return a digest of what a run's measure was measured on.

    Of a task these are its held-out examples. A loss also depends on the tokens, which what a run starts from may bring, and that
    of pretraining on the objective and the teacher.
    """
    what: dict[str, Any] = {"measure": settings.measure, "batches": settings.trainer.evaluate_batches}
    described = _described(folder)
    if settings.measure == "loss":
        what["tokens"] = described.get("tokenizer")
    if isinstance(settings, FinetuneSettings):
        what["examples"] = described.get("held_out") or [described.get("sources"), described.get("examples")]
    else:
        what["teacher"] = settings.teacher
        values = settings.model_dump(mode="json")
        what |= {
            group: {key: value for key, value in values[group].items() if kind_of(f"{group}.{key}") != "free"}
            for group in _MEASURED
        }
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:16]


def _described(folder: Path) -> Mapping[str, Any]:
    """Return what a run wrote about its data; nothing if that is damaged."""
    try:
        return read_object(folder / "data" / "manifest.json")
    except (OSError, DamagedJson):
        return {}


def _collapsed(folder: Path) -> bool | None:
    try:
        collapsed = read_object(folder / HELD_OUT / REVIEW).get("collapsed")
    except (OSError, DamagedJson):
        return None
    return collapsed if isinstance(collapsed, bool) else None
