"""Metrics to TensorBoard or Weights & Biases, through Accelerate's trackers, in addition to metrics.jsonl.

A failing tracker causes one warning, and the training continues without it. Nothing leaves the machine unless
``tracker.mode=online``, and neither the command line nor a secret in the settings is passed to it.
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
from plmtrain.json_files import DamagedJson, read_object
from plmtrain.redaction import redact, redact_text
from plmtrain.settings.run import TrackerSettings


class Tracker:
    """A tracker that receives metrics in addition to metrics.jsonl; none with ``tracker.type=none``.

    Only the main process has one, and creates it after Accelerate has set up its processes (its trackers require that).

    Args:
        settings: which tracker.
        folder: for its files, inside the run's folder.
        name: the run's name there.
        config: the run's settings; secrets are masked before they are passed on.
        first_step: steps that were done before this process: later ones in the tracker are measured again.
        warn: called once, if the tracker fails.
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
            # A tracker may write whatever it gets into files and logs of its own, and send it elsewhere.
            known = settings.model_copy(update={"project": redact_text(settings.project)})
            self._guarded(lambda: self._start(known, folder, redact_text(name), redact(config), first_step))

    def log(self, record: Mapping[str, float]) -> None:
        """Pass a record on; its ``step`` is the step."""
        if self._tracker is not None:
            self._guarded(lambda: self._log(record))

    def finish(self) -> None:
        """Let the tracker write what it still buffers."""
        if (tracker := self._tracker) is not None:
            self._guarded(tracker.finish)
            self._tracker = None

    def _guarded(self, action: Callable[[], None]) -> None:
        try:
            fault_point("tracker")
            action()
        except Exception as error:
            # Third-party libraries raise anything; none of it may end a training run.
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
            # W&B drops what is logged for a step below its own counter, so after a resume the step must be an ordinary metric.
            self._tracker.log(values)
        else:
            self._tracker.log({key: value for key, value in values.items() if key != "step"}, step=int(values["step"]))


def _tensorboard(settings: TrackerSettings, folder: Path, name: str, config: dict[str, Any], first_step: int) -> Any:
    if find_spec("tensorboard") is None:
        raise RuntimeError("it is not installed: pip install 'plmtrain[tensorboard]'")
    from accelerate.tracking import TensorBoardTracker

    # What was measured after the step of the resume is measured again: purged here.
    tracker = TensorBoardTracker("tensorboard", folder, purge_step=first_step + 1)
    tracker.main_process_only = False  # only the main process creates one, so it need not check
    tracker.start()
    if first_step == 0:
        tracker.writer.add_text("settings", "    " + json.dumps(config, indent=2, default=str).replace("\n", "\n    "))
    return tracker


def _wandb(settings: TrackerSettings, folder: Path, name: str, config: dict[str, Any], first_step: int) -> Any:
    # Read when wandb is imported: without these its settings file and cache go to the home directory, which may not exist.
    for variable in ("WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR"):
        os.environ.setdefault(variable, str(folder.absolute() / "wandb"))
    import wandb
    from accelerate.tracking import WandBTracker

    quiet = wandb.Settings(
        silent=True,
        console="off",  # nor this process's output
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
    """Return the run's id at W&B, the same after every resume."""
    try:
        remembered = read_object(path).get("id")
    except (OSError, DamagedJson):
        remembered = None
    if not isinstance(remembered, str):
        remembered = secrets.token_hex(4)
        write_json_atomically(path, {"id": remembered})
    return remembered
