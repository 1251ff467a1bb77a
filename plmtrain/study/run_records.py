"""Records of runs from their folders, whether living, finished, killed or damaged: without torch, and without running anything.

Nothing in a folder is trusted: each file is read as damaged if it is not what plmtrain writes.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plmtrain.errors import PlmtrainError
from plmtrain.settings.decode import settings_from_run
from plmtrain.study.sweep_record import final_metrics
from plmtrain.training.checkpoint import Journal
from plmtrain.training.lock import Owner
from plmtrain.training.run_folder import RunFolder

KILLED, DAMAGED = "killed", "damaged"
"""States that no run writes: it was under way and its process is gone; its files cannot be read."""

_UNDER_WAY = ("preparing", "running")
_ANY_DAMAGE = (PlmtrainError, OSError, ValueError, TypeError, AttributeError, KeyError, RecursionError)


@dataclass(frozen=True)
class RunRecord:
    """A run as its folder shows it.

    Args:
        path: the folder.
        state: as in ``status.json``, or ``killed`` or ``damaged``.
        step: optimiser steps that were taken, as far as they were logged; None if unknown.
        total_steps: of the whole run; None if unknown.
        measure: the name of its result in metrics.jsonl; empty if nothing was measured.
        value: the result.
        size: bytes of all its files.
        updated: when it last wrote something, in seconds since 1970.
        reason: why it ended, if it did.
        init: the folder whose weights it started from, or None.
        teacher: the folder of the model that it learns from, or None.
    """

    path: Path
    state: str
    step: int | None
    total_steps: int | None
    measure: str
    value: float | None
    size: int
    updated: float
    reason: str
    init: str | None
    teacher: str | None


def is_a_run(folder: Path) -> bool:
    """Return whether a folder is a run of plmtrain, even a damaged one: a ``config.yaml`` alone does not make it one."""
    run = RunFolder(folder)
    config, status, journal = _config(run), _status(run), _journal(run)
    known = "trainer" in config and "runs_dir" in config
    return known or isinstance(status.get("run_id"), str) or (journal is not None and journal.run_id is not None)


def read_run(folder: Path) -> RunRecord:
    """Read a run's folder; what cannot be read is left open."""
    run = RunFolder(folder)
    config, status, journal, measured = _config(run), _status(run), _journal(run), _measured(run)
    result_step = status.get("result_step")
    metrics = final_metrics(measured, result_step if isinstance(result_step, int) else None) or final_metrics(measured)
    measure = _measure(config, metrics)
    written = [status.get("step"), *(record.get("step") for record in measured[-1:]), journal and journal.last_step]
    steps = [step for step in written if isinstance(step, int) and not isinstance(step, bool)]
    total, init, teacher = status.get("total_steps"), config.get("init"), config.get("teacher")
    return RunRecord(
        path=folder,
        state=_state(run, config, status),
        step=max(steps, default=None),
        total_steps=total if isinstance(total, int) else None,
        measure=measure,
        value=metrics.get(measure),
        size=size_of(folder),
        updated=max((_time(path) for path in (run.status_path, run.metrics_path, run.config_path)), default=0.0),
        reason=str(status.get("reason") or "").partition("\n")[0],
        init=init if isinstance(init, str) else None,
        teacher=teacher if isinstance(teacher, str) else None,
    )


def read_runs(runs_dir: Path) -> list[RunRecord]:
    """Read every run directly below a folder, the one that wrote last first."""
    with suppress(OSError):
        folders = [place for place in runs_dir.iterdir() if place.is_dir() and is_a_run(place)]
        return sorted(map(read_run, folders), key=lambda record: (-record.updated, record.path.name))
    return []


def holder_of(folder: Path) -> Owner | None:
    """Return the living process that has the run, if there is one."""
    with suppress(*_ANY_DAMAGE):
        return RunFolder(folder).lock().holder()
    return None


def metrics_of(folder: Path) -> dict[str, float]:
    """Return the final metrics of a run: those of the step that is its result, if it has one, else the last ones."""
    run = RunFolder(folder)
    step, records = _status(run).get("result_step"), _measured(run)
    return final_metrics(records, step if isinstance(step, int) else None) or final_metrics(records)


def size_of(folder: Path) -> int:
    """Return the bytes of all files below a folder; links are not followed."""
    total = 0
    for here, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += (Path(here) / name).lstat().st_size
    return total


def _state(run: RunFolder, config: Mapping[str, Any], status: Mapping[str, Any]) -> str:
    state = status.get("state")
    if not isinstance(state, str) or (run.config_path.exists() and not config):
        return DAMAGED
    return KILLED if state in _UNDER_WAY and holder_of(run.path) is None else state


def _measure(config: Mapping[str, Any], metrics: Mapping[str, float]) -> str:
    """Return the name of the measure that is a run's result: that by which it is judged, else the validation loss, else the
    loss."""
    first = []
    with suppress(*_ANY_DAMAGE):
        first = [f"val/{settings_from_run(config).measure}"]
    return next((name for name in (*first, "val/loss", "loss") if name in metrics), "")


def _time(path: Path) -> float:
    with suppress(OSError):
        return path.lstat().st_mtime
    return 0.0


def _config(run: RunFolder) -> dict[str, Any]:
    """Return a run's settings; empty if they are damaged."""
    with suppress(*_ANY_DAMAGE):
        return run.config()
    return {}


def _status(run: RunFolder) -> dict[str, Any]:
    with suppress(*_ANY_DAMAGE):
        return run.status()
    return {}


def _journal(run: RunFolder) -> Journal | None:
    with suppress(*_ANY_DAMAGE):
        return Journal.read(run.path)
    return None


def _measured(run: RunFolder) -> list[dict[str, Any]]:
    """Return the lines of a run's metrics up to the first that is damaged."""
    records: list[dict[str, Any]] = []
    with suppress(*_ANY_DAMAGE):
        records.extend(run.metrics().records())
    return records


def dependents(folder: Path, others: Sequence[RunRecord]) -> list[Path]:
    """Return the runs that start from a run's weights or learn from it, and could not be repeated without it."""
    wanted = place_of(folder)
    needs = {other.path: {place_of(Path(name)) for name in (other.init, other.teacher) if name is not None} for other in others}
    return [path for path, needed in needs.items() if wanted in needed]


def place_of(folder: Path) -> Path:
    """Return the whole path of a folder, with links followed; of a name that cannot be one, such as that of a loop, the name."""
    try:
        return folder.resolve()
    except (OSError, ValueError, RuntimeError):
        return folder
