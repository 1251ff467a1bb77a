"""The lifecycle of a run around its training: lock, status, changes of settings, and processes."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from plmtrain import stopping
from plmtrain.console import tell
from plmtrain.data.corpus.updates import OnUpdate
from plmtrain.data.loading.order import check_divisible, plan_phases
from plmtrain.errors import SettingsErrors, Stopped, understood
from plmtrain.redaction import redact
from plmtrain.runs.material import Material
from plmtrain.runs.preparation import preparation_report
from plmtrain.settings.decode import completed
from plmtrain.settings.identity import Drift, drift, run_hash, run_name
from plmtrain.settings.run import RunSettings
from plmtrain.training import launch, save_request
from plmtrain.training.checkpoint import Journal
from plmtrain.training.run_folder import RunFolder, State

_FACTS = ("step", "total_steps", "best_step", "result_step")
"""The keys of a status about training, which every status keeps."""


def carry_out(command: Sequence[str], settings: RunSettings, prepare: Callable[[OnUpdate], Material]) -> int:
    """Start a run or resume it, and train it to its end; if it is finished, say so.

    Args:
        command: the command line after ``plmtrain``, for starting further processes.
        settings: the run's settings.
        prepare: prepares the run's data, before torch is imported.

    Returns:
        The exit code.
    """
    stopping.announce(not launch.started_by_us() and launch.is_first())
    save_request.watch()
    digests = weights_digests(settings)
    folder = RunFolder.below(settings.runs_dir, run_name(settings, digests)).create()
    with _owned(folder) as owns, folder.log() as log:
        status = folder.status()
        changed = changes(folder, settings)
        if status.get("state") == "finished" and not changed.refusals():
            # With an external launcher all processes must return here, or the others would wait for the first one in vain.
            if owns:
                tell(f"{folder.path} is finished: {status.get('reason') or 'all steps are done'}")
            return 0
        if owns:
            _require_agreement(changed, settings)
        with _recorded(folder, log, owns):
            if owns:
                folder.write_status("preparing", **_facts(folder))
            with preparation_report() as on_update:
                material = prepare(on_update)
            if settings.launch.processes > 1 and not launch.in_a_group():
                check_divisible(plan_phases(material.settings.trainer), settings.launch.processes)
                stopping.until(lambda: "all processes after this step or the next")
                return _conclude(folder, launch.launch_processes(command, settings.launch.processes))
            from plmtrain.runs.assembly import train

            train(material, folder, run_hash(settings, digests))
    return 0


@contextmanager
def _owned(folder: RunFolder) -> Iterator[bool]:
    """Hold the run's lock if this process owns the run; yield whether it does."""
    if launch.started_by_us() or not launch.is_first():
        yield False
    else:
        with folder.lock(report=tell):
            stopping.before_the_end(lambda name: _interrupted(folder, name))
            yield True


def _interrupted(folder: RunFolder, name: signal.Signals) -> str:
    """Write that the run ends at once, and say what of it is kept."""
    journal = Journal.read(folder.path)
    step = (journal.last_step if journal is not None else None) or 0
    kept = f"step {step:,} is kept" if step else "no step was saved yet"
    reason = f"ended at once by a second signal ({name.name}): {kept}"
    folder.write_status("interrupted", Stopped.exit_code, reason, **{**_facts(folder), "step": step})
    again = "resumes the run from there" if step else "begins again"
    return f"{reason}\n{folder.path}\nthe same command {again}"


@contextmanager
def _recorded(folder: RunFolder, log: logging.Logger, owns: bool) -> Iterator[None]:
    """Write the reason of a failure into the run's status, and the traceback into its log."""
    try:
        yield
    except BaseException as error:
        problem = understood(error)
        if isinstance(problem, Stopped):
            log.info("%s", "; ".join(filter(None, (problem.what, problem.where))))
        else:
            log.error("the run ended", exc_info=error)
        if problem is None:
            error.plmtrain_log = str(folder.log_path)  # type: ignore[attr-defined]  # printed by the command line
        if owns or launch.is_first():
            state: State = "stopped" if isinstance(problem, Stopped) else "failed"
            code = problem.exit_code if problem is not None else 1
            folder.write_status(state, code, str(problem.what if problem is not None else error), **_facts(folder))
        raise


def _conclude(folder: RunFolder, code: int) -> int:
    """Write the common exit code of several processes into the status, if the first one could not write it."""
    if folder.status().get("exit_code") != code:
        state: State = "stopped" if code == Stopped.exit_code else "failed"
        folder.write_status(state, code, "a process of the run failed", **_facts(folder))
    return code


def _facts(folder: RunFolder) -> dict[str, Any]:
    return {key: value for key, value in folder.status().items() if key in _FACTS}


def changes(folder: RunFolder, settings: RunSettings) -> Drift:
    """Return how the settings differ from those that the run began with."""
    new = redact(settings.model_dump(mode="json"))
    return drift(completed(folder.config()) if folder.exists else new, new)


def _require_agreement(changed: Drift, settings: RunSettings) -> None:
    """Refuse changed settings that would silently change the result, and print the other changes.

    Raises:
        SettingsErrors: for each setting that may not change.
    """
    if refusals := changed.refusals(settings.resume.allow):
        raise SettingsErrors(refusals)
    for change in (*changed.free, *changed.trajectory):
        tell(f"changed since the run began: {change}")


def weights_digests(settings: RunSettings) -> dict[str, str]:
    """Return the digests of the weights that the run starts from and learns from, by the settings that name them."""
    if not settings.folders:
        return {}
    from plmtrain.interop.initial import weights_digest

    return {key: weights_digest(Path(folder), key) for key, folder in settings.folders.items()}
