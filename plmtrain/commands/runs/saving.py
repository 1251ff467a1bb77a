"""``plmtrain runs save RUN``: ask a living run for a checkpoint now, and wait for it."""

from __future__ import annotations

import time
from pathlib import Path

from plmtrain.console import duration, tell
from plmtrain.errors import CheckpointError, SettingsError, Stopped
from plmtrain.study.run_records import holder_of, is_a_run
from plmtrain.training import save_request
from plmtrain.training.checkpoint import JOURNAL, Journal
from plmtrain.training.checkpoint_manifest import step_folders
from plmtrain.training.lock import SILENCE, Owner
from plmtrain.training.run_folder import RunFolder

_POLL = 0.1


def run(arguments: list[str]) -> int:
    """Ask, wait until the checkpoint is on the disk, and name it.

    Raises:
        SettingsError: if no process trains the run, or it cannot be asked from here.
        CheckpointError: if it ended without another checkpoint.
    """
    if len(arguments) != 1:
        raise SettingsError("runs save takes one run", f"command line: {' '.join(arguments)}", "write: plmtrain runs save RUN")
    folder = Path(arguments[0])
    if not is_a_run(folder):
        raise SettingsError(f"{folder} is not a run", f"command line: {folder}", "plmtrain runs lists the runs")
    holder, state = holder_of(folder), RunFolder(folder).status().get("state")
    if holder is None or state != "running":
        what = f"{folder} takes no steps now: its state is {state if holder is not None else 'not running'}"
        raise SettingsError(what, str(folder), "its last checkpoint is in checkpoints/; start it to train on")
    _require_heartbeat(folder, holder)
    checkpoints = RunFolder(folder).checkpoints_path
    earlier, before = step_folders(checkpoints), _stamp(folder)
    save_request.ask(holder)
    tell(f"{folder}: {holder} saves a checkpoint after its current step")
    try:
        while _stamp(folder) == before:
            if holder_of(folder) is None and _stamp(folder) == before:
                raise CheckpointError("the run ended without another checkpoint", str(folder), "see its status.json and log.txt")
            _require_heartbeat(folder, holder)
            time.sleep(_POLL)
    except KeyboardInterrupt:
        raise Stopped("stopped waiting", str(folder), "the run goes on, and saves after its current step") from None
    # The run trains on, and may have saved again by now: the first is the one that was asked for.
    journal, later = Journal.read(folder), step_folders(checkpoints).keys() - earlier.keys()
    step = min(later) if later else journal.last_step if journal is not None else None
    tell(f"{folder}: step {step} is saved" if step is not None else f"{folder}: saved")
    return 0


def _require_heartbeat(folder: Path, holder: Owner) -> None:
    """Refuse the folder of a living run that this run does not write: the lock of a copy has no heartbeat."""
    if (silence := RunFolder(folder).lock().silence()) > SILENCE:
        what = f"{folder} is not written by {holder}: the last heartbeat in its lock is {duration(silence)} old"
        raise SettingsError(what, str(folder), "if it is a copy of a run's folder, name the folder that the run writes")


def _stamp(folder: Path) -> tuple[int, int] | None:
    """Return what changes with every checkpoint: the record of the last save is written after it."""
    try:
        status = (folder / JOURNAL).stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino
