"""Metrics to TensorBoard or Weights & Biases, through Accelerate's trackers, besides metrics.jsonl.

A tracker is a guest: whatever goes wrong with it is one warning, and the training goes on without. Nothing leaves the machine
unless ``tracker.mode=online``, and neither the command line nor a secret in the settings is handed over.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from plmtrain.faults import fault_point
from plmtrain.files import write_json_atomically
from plmtrain.redaction import redact, redact_text
from plmtrain.settings.run import TrackerSettings


class Tracker:
    """Where metrics go besides metrics.jsonl; nowhere, with ``tracker.type=none``.

    Only the main process has one, and makes it when Accelerate knows of the other processes (its trackers insist on that).

    Args:
        settings: which tracker.
        folder: where it keeps its files, inside the run's folder.
        name: what the run is called there.
        config: the run's settings; secrets are masked before they are handed over.
        first_step: steps that were done before this process: what a tracker has beyond them is measured again.
        warn: told, once, if the tracker fails.
    """

    def __init__(
        self,
        settings: TrackerSettings,
        folder: Path,
        *,
        name: str,
        config: Mapping[str, Any],
        first_step: int = 0,
        warn: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._warn = warn
        self._type = settings.type
        self._tracker: Any = None
        if settings.type != "none":
            self._guarded(lambda: self._start(settings, folder, name, redact(config), first_step))

    def log(self, record: Mapping[str, float]) -> None:
        """Hand a record over; ``step`` in it says when."""
        if self._tracker is not None:
            self._guarded(lambda: self._log(record))

    def finish(self) -> None:
        """Have the tracker write what it still holds."""
        if (tracker := self._tracker) is not None:
            self._guarded(tracker.finish)
            self._tracker = None

    def _guarded(self, action: Callable[[], None]) -> None:
        try:
            fault_point("tracker")
            action()
        except Exception as error:
            # Libraries of others raise what they like; none of it is worth a training run.
            self._tracker = None
            reason = " ".join(redact_text(str(error)).split())[:200] or type(error).__name__
            self._warn(f"the {self._type} tracker failed and is off from here: {reason}; metrics.jsonl has everything")

    def _start(self, settings: TrackerSettings, folder: Path, name: str, config: dict[str, Any], first_step: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        start = _tensorboard if settings.type == "tensorboard" else _wandb
        self._tracker = start(settings, folder, name, config, first_step)

    def _log(self, record: Mapping[str, float]) -> None:
        values = {key: value for key, value in record.items() if isinstance(value, int | float)}
        if self._type == "wandb":
            # W&B drops what is logged for a step below its own counter, so after a resume the step must be a metric like others.
            self._tracker.log(values)
        else:
            self._tracker.log({key: value for key, value in values.items() if key != "step"}, step=int(values["step"]))


def _tensorboard(settings: TrackerSettings, folder: Path, name: str, config: dict[str, Any], first_step: int) -> Any:
    if find_spec("tensorboard") is None:
        raise RuntimeError("it is not installed: pip install 'plmtrain[tensorboard]'")
    from accelerate.tracking import TensorBoardTracker

    # What was measured after the step that we resume from is measured again: purged here.
    tracker = TensorBoardTracker("tensorboard", folder, purge_step=first_step + 1)
    tracker.main_process_only = False  # only the main process makes one, and it need not ask
    tracker.start()
    if first_step == 0:
        tracker.writer.add_text("settings", "    " + json.dumps(config, indent=2, default=str).replace("\n", "\n    "))
    return tracker


def _wandb(settings: TrackerSettings, folder: Path, name: str, config: dict[str, Any], first_step: int) -> Any:
    # Read when wandb is imported: without these its settings file and cache go to the home directory, which may not be there.
    for variable in ("WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR"):
        os.environ.setdefault(variable, str(folder.absolute() / "wandb"))
    import wandb
    from accelerate.tracking import WandBTracker

    quiet = wandb.Settings(
        silent=True,
        console="off",  # nor what we print
        disable_code=True,
        disable_git=True,
        disable_job_creation=True,
        x_disable_meta=True,  # the command line, the host, the user
        x_disable_machine_info=True,
        x_disable_stats=True,
        x_save_requirements=False,
        init_timeout=60,
    )
    online = settings.mode == "online"
    tracker = WandBTracker(
        settings.project,
        mode=settings.mode,
        dir=str(folder.absolute()),
        id=_remembered_id(folder / "wandb.json"),
        resume="allow" if online else None,
        name=name,
        config=config,
        settings=quiet,
    )
    tracker.start()
    tracker.run.define_metric("step")
    tracker.run.define_metric("*", step_metric="step")
    return tracker


def _remembered_id(path: Path) -> str:
    """The run's id at W&B, the same after every resume."""
    try:
        remembered = json.loads(path.read_text())["id"]
    except (OSError, ValueError, KeyError, TypeError):
        remembered = None
    if not isinstance(remembered, str):
        remembered = secrets.token_hex(4)
        write_json_atomically(path, {"id": remembered})
    return remembered
