"""Trackers get what was measured, keep their run over a resume, never get a secret, and never end a training."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from plmtrain import faults
from plmtrain.settings.run import TrackerSettings
from plmtrain.training.trackers import Tracker

SECRET = "hf" + "_AbCdEfGhIjKlMnOpQrStUvWxYz01234567"
CONFIG = {"model": {"width": 8}, "data": {"hub_token": "hunter22", "files": [f"https://me:{SECRET}@host/x"]}}


@pytest.fixture(autouse=True)
def _accelerate() -> None:
    from accelerate import PartialState

    PartialState(cpu=True)


def start(folder: Path, kind: str, told: list[str], first_step: int = 0) -> Tracker:
    settings = TrackerSettings.model_validate({"type": kind})
    return Tracker(settings, folder, name="run", config=CONFIG, first_step=first_step, warn=told.append)


def assert_no_secret(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert SECRET.encode() not in content, path
            assert b"hunter22" not in content, path


def test_none_does_nothing(tmp_path: Path) -> None:
    told: list[str] = []
    tracker = start(tmp_path / "trackers", "none", told)
    tracker.log({"step": 1, "loss": 2.0})
    tracker.finish()
    assert not told
    assert not (tmp_path / "trackers").exists()


def test_tensorboard_has_each_step_once_after_a_resume(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    told: list[str] = []
    for first, last in ((0, 4), (2, 6)):
        tracker = start(tmp_path, "tensorboard", told, first)
        for step in range(first + 1, last + 1):
            tracker.log({"step": step, "loss": 10.0 * first + step, "val/loss": 1.0})
        tracker.finish()
    assert not told
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [(1, 1), (2, 2), (3, 23), (4, 24), (5, 25), (6, 26)]
    assert_no_secret(tmp_path)


WANDB = textwrap.dedent(
    """
    import socket, sys
    def refuse(event, arguments):
        outside = event == "socket.connect" and isinstance(arguments[1], tuple) and arguments[1][0] not in ("127.0.0.1", "::1")
        if outside:
            print("went out to", arguments[1], file=sys.stderr)
    sys.addaudithook(refuse)
    from pathlib import Path
    from accelerate import PartialState
    from plmtrain.settings.run import TrackerSettings
    from plmtrain.training.trackers import Tracker
    PartialState(cpu=True)
    told = []
    config = {"data": {"hub_token": "hunter22", "files": ["https://me:" + sys.argv[2] + "@host/x"]}}
    settings, name = TrackerSettings(type="wandb", project=sys.argv[2]), "run-" + sys.argv[2]
    tracker = Tracker(settings, Path(sys.argv[1]), name=name, config=config, warn=told.append)
    tracker.log({"step": 1, "loss": 2.0, "val/loss": float("nan")})
    tracker.finish()
    assert not told, told
    """
)


def test_wandb_stays_offline_keeps_its_run_and_gets_no_secret(tmp_path: Path) -> None:
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", WANDB, str(tmp_path / "trackers"), SECRET], capture_output=True, check=True, cwd=tmp_path
        )
        assert (done.stdout, done.stderr) == (b"", b"")
    name = json.loads((tmp_path / "trackers" / "wandb.json").read_text())["id"]
    runs = list((tmp_path / "trackers" / "wandb").glob("offline-run-*"))
    assert runs
    assert all(path.name.endswith(f"-{name}") for path in runs)
    assert [path.name for path in tmp_path.iterdir()] == ["trackers"], "nothing lies anywhere else"
    assert_no_secret(tmp_path)


@pytest.mark.parametrize("action", ["raise", "enospc"])
def test_a_failure_is_one_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, action: str) -> None:
    told: list[str] = []
    tracker = start(tmp_path, "tensorboard", told)
    tracker.log({"step": 1, "loss": 2.0})
    monkeypatch.setattr(faults, "_faults", [("tracker", None, action)])
    for step in (2, 3):
        tracker.log({"step": step, "loss": 2.0})
    tracker.finish()
    (line,) = told
    assert "tensorboard" in line
    assert "\n" not in line


def test_a_tracker_that_cannot_start_is_one_warning(tmp_path: Path) -> None:
    (tmp_path / "trackers").write_text("a file stands here")
    told: list[str] = []
    tracker = start(tmp_path / "trackers", "tensorboard", told)
    tracker.log({"step": 1, "loss": 2.0})
    assert len(told) == 1
