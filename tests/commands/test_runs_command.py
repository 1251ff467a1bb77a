"""``plmtrain runs``: what it says of living, finished, killed and damaged runs, and what it refuses to delete."""

from __future__ import annotations

import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from support.command_line import Result, finish, plmtrain, start
from support.finished_run import STEP, finished_run
from support.tiny_text import PRETRAIN, TEXT, write_texts

from plmtrain import cli
from plmtrain.commands.runs import saving
from plmtrain.training.checkpoint_manifest import Identity
from plmtrain.training.lock import Owner
from plmtrain.training.progress import Progress
from plmtrain.training.run_folder import RunFolder


@pytest.fixture(autouse=True)
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def made(name: str, state: str = "finished", *overrides: str) -> RunFolder:
    """A folder as a run leaves it."""
    folder = RunFolder(f"runs/{name}")
    finished_run(folder.path, ["model=bert", "objective=mlm", *overrides])
    folder.write_status(state, 0, "all steps are done", step=9, total_steps=10, result_step=5)  # type: ignore[arg-type]
    return folder


def listed(capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, Any]]:
    capsys.readouterr()
    assert cli.main(["runs", "--json"]) == 0
    return {Path(row["path"]).name: row for row in json.loads(capsys.readouterr().out)}


def test_every_run_is_listed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    whole = made("whole")
    made("killed", "running")
    living = made("living", "running")
    broken = made("broken")
    broken.config_path.write_text("a: [")
    made("bracketed").status_path.write_text("[" * 100_000)
    made("no_metrics").metrics_path.write_bytes(b"\xff\xfe{]\n" + b"[" * 100_000 + b"\n")
    made("odd").status_path.write_text('{"state": 3, "step": "many", "run_id": [], "reason": null}')
    Path("runs/sweeps/x").mkdir(parents=True)
    Path("runs/elsewhere").mkdir()
    Path("runs/elsewhere/config.yaml").write_text("of: another program\n")
    with living.lock():
        rows = listed(capsys)
    assert {name: row["state"] for name, row in rows.items()} == {
        "whole": "finished",
        "killed": "killed",
        "living": "running",
        "broken": "damaged",
        "bracketed": "damaged",
        "no_metrics": "finished",
        "odd": "damaged",
    }
    expected = {"step": 9, "total_steps": 10, "measure": "val/loss", "value": 8.5, "init": None}
    assert {key: rows["whole"][key] for key in expected} == expected
    sizes = sum(path.stat().st_size for path in whole.path.rglob("*") if path.is_file())
    assert rows["whole"]["size"] == sizes
    assert cli.main(["runs"]) == 0
    table = capsys.readouterr().out
    assert all(f"runs/{name} " in table for name in rows)
    assert "9 of 10" in table
    assert "loss 8.5000" in table


def test_no_runs_and_a_word_too_many(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["runs"]) == 0
    assert "there are no runs in runs" in capsys.readouterr().out
    assert cli.main(["runs", "nowhere"]) == cli.main(["runs", "rn", "runs/a"]) == cli.main(["runs", "diff", "a"]) == 2


def test_the_difference_of_two_runs(capsys: pytest.CaptureFixture[str]) -> None:
    made("a")
    made("b", "stopped", "optimizer.lr=1e-5", "trainer.keep=7")
    capsys.readouterr()
    assert cli.main(["runs", "diff", "runs/a", "runs/b", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["settings"] == {"optimizer.lr": [1e-4, 1e-5], "trainer.keep": [2, 7]}
    assert told["results"] == {"state": ["finished", "stopped"], "step": [9, 9], "loss": [0.0, 0.0], "val/loss": [8.5, 8.5]}
    assert cli.main(["runs", "diff", "runs/a", "runs/b"]) == 0
    assert "optimizer.lr" in capsys.readouterr().out


def removed(*arguments: str) -> Result:
    return plmtrain("runs", "rm", *arguments, cwd=Path())


def test_deleting_asks_and_refuses_what_lives_or_is_no_run() -> None:
    kept, living = made("kept"), made("living", "running")
    Path("runs/link").symlink_to(kept.path.name)
    Path("runs/elsewhere").mkdir()
    Path("runs/elsewhere/config.yaml").write_text("of: another program\n")
    made("tuned")
    config = RunFolder("runs/tuned").config()
    RunFolder("runs/tuned").write_config({**config, "init": "runs/kept", "teacher": "a\0b"})
    Path("runs/loop").symlink_to("loop")
    told = removed("runs/kept")
    assert told.code == 2
    assert "add --yes" in told.err
    assert "the weights that runs/tuned started or learn from" in told.out
    with living.lock():
        assert removed("--yes", "runs/kept", "runs/living").code == 2
    for wrong in ("runs/link", "runs/loop", "runs/elsewhere", "runs", ".", "runs/nothing"):
        assert removed("--yes", "runs/kept", wrong).code == 2
    assert kept.exists
    assert living.exists
    assert removed("--yes", "runs/kept", "runs/living", "runs/kept", "runs/tuned/../kept").code == 0
    assert sorted(path.name for path in Path("runs").iterdir()) == ["elsewhere", "link", "loop", "tuned"]


def test_a_run_is_deleted_from_within(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made("kept")
    monkeypatch.chdir(made("inside").path)
    assert cli.main(["runs", "rm", "--yes", "."]) == 0
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["kept"]


@pytest.mark.parametrize(("answer", "there"), [("y\n", False), ("\n", True), ("n\n", True)])
def test_on_a_terminal_deleting_is_a_question(answer: str, there: bool) -> None:
    run = made("asked")
    controller, terminal = pty.openpty()
    command = [sys.executable, "-m", "plmtrain", "runs", "rm", "runs/asked"]
    environment = {**os.environ, "PYTHONPATH": str(Path(cli.__file__).parents[1])}
    process = subprocess.Popen(command, stdin=terminal, stdout=terminal, stderr=terminal, env=environment)
    os.close(terminal)
    sent = b""
    while b"[y/N]" not in sent:
        sent += os.read(controller, 1024)
    os.write(controller, answer.encode())
    with suppress(OSError):  # how Linux says that the other side is closed
        while chunk := os.read(controller, 1024):
            sent += chunk
    os.close(controller)
    assert process.wait() == 0
    assert run.exists == there
    assert b"runs/asked: finished, step 9" in sent


def test_a_living_run_is_asked_for_a_checkpoint(tmp_path: Path) -> None:
    """Between the steps at which it would save anyway; it trains on, and ends with the weights of a run that was left alone."""
    write_texts(tmp_path)
    # It is suspended in its fourth step, so that it lives when it is asked.
    words = [*PRETRAIN, *TEXT, "trainer.save_every=100", "trainer.keep=9"]
    assert plmtrain("pretrain", *words, "name=alone", cwd=tmp_path).code == 0
    child = start("pretrain", *words, "name=asked", cwd=tmp_path, fault="train.backward@3:stop", name="training")
    run = RunFolder("runs/asked")
    while child.exitcode is None and not _is_suspended(child.pid):
        time.sleep(0.02)
    told = tmp_path / ".asking.out"
    told.touch()
    asking = start("runs", "save", "runs/asked", cwd=tmp_path, name="asking")
    while asking.exitcode is None and "saves a checkpoint after" not in told.read_text():
        time.sleep(0.02)
    # A copy of its folder names the same process, whose heartbeat is in the other folder.
    shutil.copytree(tmp_path / "runs/asked", tmp_path / "runs/copied")
    os.utime(tmp_path / "runs/copied/lock.json", (time.time() - 300,) * 2)
    copied = plmtrain("runs", "save", "runs/copied", cwd=tmp_path)
    assert copied.code == 2
    assert "is not written by" in copied.err
    os.kill(child.pid or 0, signal.SIGCONT)
    asked, trained = finish(asking, tmp_path), finish(child, tmp_path)
    assert (asked.code, trained.code) == (0, 0), asked.err + trained.err
    assert asked.out.splitlines()[-1] == "runs/asked: step 4 is saved"
    assert "step 4: saved on request" in trained.out
    saved = sorted(path.name for path in run.checkpoints_path.iterdir())
    assert saved == ["step-00000004", "step-00000008"]
    weights = [Path(f"runs/{name}/checkpoints/step-00000008/model.safetensors").read_bytes() for name in ("alone", "asked")]
    assert weights[0] == weights[1]
    # Nobody trains it now.
    again = plmtrain("runs", "save", "runs/asked", cwd=tmp_path)
    assert again.code == 2
    assert "takes no steps now" in again.err


def test_the_checkpoint_that_was_asked_for_is_named_though_another_followed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = made("asked", "running")
    checkpoints = run.checkpoints(9, Identity("finished"))
    weights = checkpoints.at(STEP).load("model")

    def both(holder: Owner) -> None:
        for step in (STEP + 1, STEP + 3):
            checkpoints.save(step, {"model": weights}, Progress(step=step))

    monkeypatch.setattr(saving, "holder_of", lambda folder: Owner.this_process())
    monkeypatch.setattr(saving, "_require_heartbeat", lambda folder, holder: None)
    monkeypatch.setattr(saving.save_request, "ask", both)
    assert saving.run([str(run.path)]) == 0
    assert f"step {STEP + 1} is saved" in capsys.readouterr().out


def _is_suspended(pid: int | None) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
