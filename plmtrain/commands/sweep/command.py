"""``plmtrain pretrain -m`` and ``plmtrain finetune -m``: a sweep.

Each job is a process, finished jobs are not run again, and all end in one table, with statistics over seeds if there are several.
"""

from __future__ import annotations

import hashlib
import json
import math
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice, product
from pathlib import Path
from types import FrameType
from typing import Any

from plmtrain import limits, stopping
from plmtrain.commands.sweep import job as sweep_job
from plmtrain.console import warn
from plmtrain.errors import SettingsError, SettingsErrors, Stopped, nearest
from plmtrain.runs.command_settings import composed_for, kind_for
from plmtrain.settings.composing import multirun
from plmtrain.settings.composing.arguments import Arguments
from plmtrain.settings.composing.compose import parse_override, values_of
from plmtrain.settings.composing.folders import GROUPS, OPTIONAL_GROUPS, choices
from plmtrain.settings.composing.foreign_yaml import screen_folder
from plmtrain.settings.composing.overrides import Checked, check_overrides, where
from plmtrain.settings.composing.settings_file import separated
from plmtrain.settings.decode import run_settings
from plmtrain.settings.kinds import KINDS
from plmtrain.study import summary_files
from plmtrain.study.sweep_record import read_records
from plmtrain.study.sweep_summary import Summary
from plmtrain.training.run_folder import safe_name

MOST_TRIED = 30
"""Jobs that are composed in search of a valid one, before the sweep is refused."""


def run(verb: str, options: Arguments) -> int:
    """Run a sweep.

    Args:
        verb: the first argument of ``plmtrain``; only training verbs can be swept.
        options: its arguments.

    Returns:
        the worst exit code of its jobs.
    """
    trains = any(kind.primary == verb for kind in KINDS)
    if not trains or options.show:
        what = "--cfg job" if trains else f"plmtrain {verb}"
        raise SettingsError(f"{what} takes one set of settings, not a sweep", "command line: -m", "omit -m")
    file, overrides = separated(options.overrides)
    checked = check_overrides(overrides, parse_override, options.config_dir, sweep=True, primary=verb)
    values = _values(checked, options)
    folder_errors = screen_folder(options.config_dir) if options.config_dir is not None else []
    if errors := [*folder_errors, *checked.errors, *_impossible(checked, values, options)]:
        raise SettingsErrors(errors)
    first = _first_valid(verb, checked, values, file, options)
    folder = Path(str(first.get("runs_dir") or "runs")).resolve() / "sweeps" / _name(verb, checked, options, first)
    folder.mkdir(parents=True, exist_ok=True)
    total, at_once = _total(checked, values), _at_once(checked)
    job = sweep_job.SweepJob(str(folder), tuple(checked.swept), file, options.config_dir, total, at_once, verb)
    with _forwarding():
        multirun.run_sweep(checked, options.config_dir, folder, job, verb)
    records = read_records(folder / "jobs")
    summary = Summary.of(records)
    summary_files.publish(summary, folder)
    summary_files.tell_summary(summary, folder)
    codes = [1 if record.exit_code is None else record.exit_code for record in records]
    return Stopped.exit_code if sweep_job.stopped_by() is not None else max(codes, default=0)


def _impossible(checked: Checked, values: Mapping[str, Sequence[str]], options: Arguments) -> Iterator[SettingsError]:
    """Yield errors of sweeps that are impossible."""
    if "runs_dir" in checked.swept:
        yield SettingsError("a sweep stays in one runs_dir", "command line: runs_dir", "give it one value")
    if len(set(checked.swept)) < len(checked.swept):
        yield SettingsError("a key is swept twice", f"command line: {', '.join(checked.swept)}", "remove one of the two")
    searched = any(text.startswith("hydra/sweeper=") for text in checked.hydra)
    for key in checked.swept:
        if not values[key] and not searched:
            remedy = "name values: a,b  range(1,4)  choice(...)  glob(*); an interval needs hydra/sweeper=optuna"
            yield SettingsError(f"the values of {key} cannot be enumerated", f"command line: {key}", remedy)
        for value in values[key] if key in GROUPS else ():
            valid = [*choices(key, options.config_dir), *(["null"] if key in OPTIONAL_GROUPS else [])]
            if value not in valid:
                yield SettingsError(f"{key} has no choice '{value}'", f"command line: {key}", nearest(value, valid))
    for text in checked.hydra:
        key, _, value = text.partition("=")
        if key == "hydra.launcher.jobs" and not (value.isdigit() and int(value) > 0):
            yield SettingsError(f"hydra.launcher.jobs must be a whole number above 0, and is '{value}'", where(text), "write 2")


def _first_valid(
    verb: str, checked: Checked, values: Mapping[str, Sequence[str]], file: str | None, options: Arguments
) -> Mapping[str, Any]:
    """Return the plain settings of the first valid job.

    An invalid job affects no other one, so the sweep starts if any is valid; if none is, the errors are reported at once.
    """
    groups = [f"{group}={choice or 'null'}" for group, choice in checked.groups.items() if group not in checked.swept]
    fixed = [*([file] if file is not None else []), *groups]
    fixed += [text for key, text in checked.values if key not in checked.swept]
    counted = {key: choices_of_key for key, choices_of_key in values.items() if choices_of_key}
    problem: SettingsErrors | None = None
    for combination in islice(product(*counted.values()), MOST_TRIED):
        swept = [f"{key}={value}" for key, value in zip(counted, combination, strict=True)]
        composed = composed_for(verb, [*fixed, *swept], options.config_dir)
        try:
            run_settings(composed, kind_for(verb))
        except SettingsErrors as error:
            problem = problem or error
        else:
            return composed.values
    assert problem is not None
    raise problem


def _values(checked: Checked, options: Arguments) -> dict[str, list[str]]:
    """Return the values of each swept key; none where they cannot be enumerated."""
    return {
        key: values_of(text, choices(key, options.config_dir) if key in GROUPS else ())
        for key, text in checked.values
        if key in checked.swept
    }


def _total(checked: Checked, values: Mapping[str, Sequence[str]]) -> int | None:
    """Return the number of jobs, unless a sweeper decides it."""
    if any(text.startswith("hydra/sweeper=") for text in checked.hydra):
        return None
    return math.prod(len(values_of_key) for values_of_key in values.values())


def _at_once(checked: Checked) -> int:
    """Return how many jobs run at the same time, as far as that is known."""
    for text in reversed(checked.hydra):
        key, _, value = text.partition("=")
        if key in ("hydra.launcher.jobs", "hydra.launcher.n_jobs") and value.isdigit():
            return int(value)
    return limits.cores() if "hydra/launcher=joblib" in checked.hydra else 1


def _name(verb: str, checked: Checked, options: Arguments, first: Mapping[str, Any]) -> str:
    """Return the name of the sweep's folder: the swept keys, and a hash of the command, so that it is found again."""
    sweepers = [text for text in checked.hydra if "sweeper" in text]
    words = [sorted(options.overrides), sorted(sweepers), options.config_dir, *([] if verb == "pretrain" else [verb])]
    digest = hashlib.sha256(json.dumps(words).encode()).hexdigest()
    base = first.get("name") if "name" not in checked.swept else None
    parts = [str(base)] if base else []
    return safe_name("-".join([*parts, *(key.rpartition(".")[2] for key in checked.swept)])[:80] + f"-{digest[:8]}")


@contextmanager
def _forwarding() -> Iterator[None]:
    """Forward TERM, INT and USR1 to the jobs; the first signal also prevents further jobs from starting."""

    def forward(number: int, frame: FrameType | None) -> None:
        if sweep_job.stopped_by() is None:
            warn("stopping: the jobs that run save their state first; again to stop them at once")
        sweep_job.stop(number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, forward) for number in stopping.SIGNALS}
    if (earlier := stopping.requested()) is not None:
        sweep_job.stop(earlier)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
