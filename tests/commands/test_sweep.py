"""Sweeps: one failure harms no other, nothing is run twice, one table, the worst exit code.

A function stands in for the training, which has tests of its own, or a small program where processes and signals matter.
"""

from __future__ import annotations

import csv
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from support.children import in_child, wait_for

from plmtrain import cli, limits
from plmtrain.commands.sweep import command as sweep
from plmtrain.commands.sweep import job as sweep_job
from plmtrain.commands.sweep.job import SweepJob
from plmtrain.errors import SettingsErrors
from plmtrain.settings.composing.arguments import parse_arguments
from plmtrain.settings.composing.compose import compose
from plmtrain.settings.decode import pretrain_settings, run_settings
from plmtrain.settings.identity import run_name
from plmtrain.settings.kinds import FINETUNE
from plmtrain.study.sweep_record import final_metrics
from plmtrain.training.run_folder import RunFolder

PROGRAM = """
import os, pathlib, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))
signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
print("job begins", flush=True)
if "seed=1" in sys.argv:
    if os.environ["STAND_IN"] == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    pathlib.Path("hanging").touch()
    time.sleep(60)
"""


class Training:
    """Writes what a run writes, and remembers which ran; fails for some seeds."""

    def __init__(self) -> None:
        self.started: list[tuple[str, int | None]] = []
        self.failing: tuple[int, ...] = ()

    def __call__(self, job: SweepJob, overrides: Sequence[str], log: Path) -> int:
        settings = pretrain_settings(compose(overrides, job.config_dir))
        run = RunFolder.below(settings.runs_dir, run_name(settings)).create()
        self.started.append((run.path.name, settings.trainer.threads))
        if settings.seed in self.failing:
            log.write_text("job begins\n\nthe text is bad\nfile: x:3\nmend it\n")
            return 3
        run.write_config(settings.model_dump(mode="json"))
        with run.metrics() as metrics:
            metrics.write({"step": 1, "loss": 9.0})
            metrics.write({"step": 2, "loss": 10.0 / settings.seed})
            slower = float(settings.optimizer.lr < 1e-3)
            metrics.write({"step": 2, "val/loss": 1.5 * settings.seed + slower, "val/perplexity": 4.0})
        run.write_status("finished", 0)
        return 0


@pytest.fixture(autouse=True)
def training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Training:
    """An empty working folder, and a stand-in for the training."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sweep_job, "_stopped_by", None)
    stand_in = Training()
    monkeypatch.setattr(SweepJob, "_process", lambda job, overrides, log: stand_in(job, overrides, log))
    return stand_in


process = SweepJob._process


@pytest.fixture
def processes(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Real processes, of a small program."""
    program = tmp_path_factory.mktemp("program") / "stand_in.py"
    program.write_text(PROGRAM)
    monkeypatch.setattr(SweepJob, "_process", process)
    monkeypatch.setattr(sweep_job, "PLMTRAIN", (sys.executable, str(program)))


def run(*arguments: str) -> int:
    return sweep.run("pretrain", parse_arguments(["-m", *arguments]))


def table() -> list[dict[str, str]]:
    (path,) = Path("runs/sweeps").glob("*/table.csv")
    with path.open() as file:
        return list(csv.DictReader(file))


def test_one_failure_harms_no_other_and_the_same_command_runs_what_is_missing(
    training: Training, capfd: pytest.CaptureFixture[str]
) -> None:
    training.failing = (2,)
    command = ["size=tiny", "seed=1,2,3", "optimizer.lr=1e-3"]
    assert run(*command) == 3
    rows = table()
    assert [row["seed"] for row in rows] == ["1", "2", "3"]
    assert [row["state"] for row in rows] == ["finished", "failed", "finished"]
    assert [row["exit_code"] for row in rows] == ["0", "3", "0"]
    assert {row["reason"] for row in rows} == {"", "the text is bad"}
    assert float(rows[2]["loss"]) == pytest.approx(10 / 3)
    assert float(rows[2]["val/loss"]) == 4.5
    assert len({row["run"] for row in rows}) == 3
    told = capfd.readouterr()
    assert "failed with exit code 3: the text is bad" in told.err
    assert "val/perplexity" in told.out
    assert len(training.started) == 3

    training.failing = ()
    assert run(*command) == 0
    assert len(training.started) == 4
    assert [row["state"] for row in table()] == ["finished"] * 3
    assert run(*command) == 0
    assert len(training.started) == 4


def test_seeds_end_in_statistics_of_each_configuration(capfd: pytest.CaptureFixture[str]) -> None:
    """Numbers by hand: the stand-in's validation loss is one and a half times the seed, and 1 more with the lower rate."""
    assert run("size=tiny", "seed=1,2,6", "optimizer.lr=1e-3,1e-4") == 0
    (path,) = Path("runs/sweeps").glob("*/summary.csv")
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["optimizer.lr"], row["jobs"], row["finished"]) for row in rows] == [("0.001", "3", "3"), ("0.0001", "3", "3")]
    for more, row in enumerate(rows):
        assert float(row["val/loss mean"]) == pytest.approx(4.5 + more)
        assert float(row["val/loss median"]) == 3 + more
        assert float(row["val/loss std"]) == pytest.approx(1.5 * 7**0.5)  # 1, 2 and 6 have the variance (4 + 1 + 9) / 2
        assert float(row["val/perplexity std"]) == 0
        assert row["collapsed"] == ""
    drawn = capfd.readouterr().out
    assert "* the best by val/loss: optimizer.lr=0.001, median 3.0000" in drawn
    assert "the mean difference is -1.0000 (interval -1.0000 to -1.0000): they separate the two" in drawn
    assert drawn.count("│") < 40  # a line for each configuration, none for a job
    assert len(table()) == 6
    assert path.with_suffix(".md").is_file()

    (folder,) = Path("runs/sweeps").resolve().iterdir()
    lost = next(path for path in (folder / "jobs").glob("*.json") if '"seed": "6"' in path.read_text())
    lost.write_text(lost.read_text().replace('"finished"', '"running"'))
    for file in folder.glob("summary.*"):
        file.unlink()
    assert cli.main(["runs", "sweep", str(folder)]) == 0
    assert capfd.readouterr().out == drawn
    lost.write_text(lost.read_text().replace('"running"', '"failed"'))
    RunFolder(json.loads(lost.read_text())["run"]).write_status("failed", 5, "it diverged")
    assert cli.main(["runs", "sweep", str(folder)]) == 0
    assert "2 of 3" in capfd.readouterr().out
    assert cli.main(["runs", "sweep", "runs"]) == cli.main(["runs", "sweep"]) == 2


def test_the_best_job_is_marked_where_losses_compare(capfd: pytest.CaptureFixture[str]) -> None:
    assert run("size=tiny", "optimizer.lr=1e-3,1e-4") == 0
    drawn = capfd.readouterr().out
    (best,) = [line for line in drawn.splitlines() if "│ 1 *" in line]
    assert "1.5000" in best
    assert "* the best by val/loss: optimizer.lr=0.001, value 1.5000" in drawn
    assert run("size=tiny", "seed=1,2", "objective=mlm,whole_word_mlm") == 0
    assert "the best by" not in capfd.readouterr().out


def test_a_sweep_of_a_task_without_a_setting_for_metrics_ends_in_its_table(
    training: Training, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def trained(job: SweepJob, overrides: Sequence[str], log: Path) -> int:
        settings = run_settings(compose(overrides, job.config_dir, "finetune"), FINETUNE)
        labels = {"labels": ["B-x", "O"]}  # found in the data
        run = RunFolder.below(settings.runs_dir, run_name(settings)).create()
        values = settings.model_dump(mode="json")
        run.write_config({**values, "task": {**values["task"], **labels}})
        with run.metrics() as metrics:
            metrics.write({"step": 2, "val/loss": 1.0 * settings.seed, "val/f1": 0.125 * settings.seed})
        run.write_status("finished", 0)
        return 0

    monkeypatch.setattr(SweepJob, "_process", trained)
    words = ["task=token_labels", "model=bert", "size=tiny", "name=x", "data.files=[a.conll]", "seed=1,2"]
    assert sweep.run("finetune", parse_arguments(["-m", *words])) == 0
    assert "0.1875" in capfd.readouterr().out  # the mean of the two


def test_a_sweep_of_a_file_of_settings(tmp_path: Path, training: Training) -> None:
    (tmp_path / "run.yaml").write_text("name: mine\nsize: tiny\nseed: 9\noptimizer: {lr: 0.002}\n")
    assert run("run.yaml", "seed=1,2", "trainer.steps=7") == 0
    assert [name for name, _ in training.started] == ["mine-seed=1", "mine-seed=2"]
    config = RunFolder("runs/mine-seed=2").config()
    assert (config["seed"], config["optimizer"]["lr"], config["trainer"]["steps"]) == (2, 0.002, 7)
    assert run("run.yaml", "seed=1,2", "trainer.steps=7") == 0
    assert len(training.started) == 2


def test_a_run_that_ends_with_its_best_checkpoint_is_told_by_it() -> None:
    records = [
        {"step": 1, "loss": 3.0},
        {"step": 1, "val/accuracy": 0.9},
        {"step": 2, "loss": 2.0},
        {"step": 2, "val/accuracy": 0.8},
    ]
    assert final_metrics(records) == {"loss": 2.0, "val/accuracy": 0.8}
    assert final_metrics(records, step=1) == {"loss": 2.0, "val/accuracy": 0.9}


@pytest.mark.usefixtures("processes")
def test_a_job_that_is_killed_is_a_failed_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STAND_IN", "die")
    assert run("seed=1,2") == 1
    assert [(row["state"], row["reason"]) for row in table()] == [("failed", "killed by signal 9"), ("finished", "")]


def test_wrong_settings_of_one_job_harm_no_other(training: Training) -> None:
    assert run("size=tiny", "model.heads=3,2") == 2
    rows = table()
    assert [row["state"] for row in rows] == ["failed", "finished"]
    assert "must divide width" in rows[0]["reason"]
    assert len(training.started) == 1


def test_settings_that_are_wrong_in_every_job_start_nothing() -> None:
    with pytest.raises(SettingsErrors, match=r"trainer\.stpes"):
        run("seed=1,2", "trainer.stpes=3")
    with pytest.raises(SettingsErrors, match="robreta"):
        run("model=bert,robreta")
    with pytest.raises(SettingsErrors, match="cannot be enumerated"):
        run("optimizer.lr=interval(1e-4,1e-3)")
    with pytest.raises(SettingsErrors, match="above 0"):
        run("seed=1,2", "hydra.launcher.jobs=0")
    with pytest.raises(SettingsErrors, match="one runs_dir"):
        run("runs_dir=a,b")
    with pytest.raises(SettingsErrors, match="_target_"):
        run("seed=1,2", "hydra.sweeper.sampler={_target_: os.system}")
    assert list(Path().iterdir()) == []


def test_a_plugin_that_is_not_there_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    from plmtrain.cli import main

    assert main(["pretrain", "-m", "seed=1,2", "hydra/launcher=no_such_launcher"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert "hydra/launcher=no_such_launcher" in lines[1]


def test_a_fixed_name_gets_the_swept_values(training: Training) -> None:
    assert run("name=mine", "seed=1,2", "optimizer.lr=1e-3") == 0
    assert [name for name, _ in training.started] == ["mine-seed=1", "mine-seed=2"]
    assert next(Path("runs/sweeps").iterdir()).name.startswith("mine-seed-")


def test_keys_that_leave_the_result_still_make_runs_of_their_own(training: Training) -> None:
    assert run("trainer.workers=0,1") == 0
    names = [name for name, _ in training.started]
    assert len(set(names)) == 2
    assert [name.rpartition("-")[2] for name in names] == ["workers=0", "workers=1"]


def test_all_of_hydras_ways_to_name_values() -> None:
    assert run("objective=glob(*_mlm,exclude=[multi*,span*,ngram*])", "seed=range(1,3)", "optimizer.lr=choice(1e-3,2e-3)") == 0
    rows = table()
    assert len(rows) == 2 * 2 * 2
    assert {row["objective"] for row in rows} == {"dynamic_mlm", "whole_word_mlm"}
    assert {row["optimizer.lr"] for row in rows} == {"0.001", "0.002"}
    assert list(Path("runs/sweeps").rglob("multirun.yaml")) == []
    assert list(Path("runs/sweeps").rglob(".hydra")) == []


def test_jobs_side_by_side_share_the_cores(training: Training) -> None:
    assert run("seed=1,2,3,4", "hydra.launcher.jobs=2") == 0
    assert {threads for _, threads in training.started} == {max(1, limits.cores() // 2)}
    assert [row["state"] for row in table()] == ["finished"] * 4
    # How jobs are launched is no part of the sweep: what is finished is finished.
    assert run("seed=1,2,3,4", "hydra.launcher.jobs=1") == 0
    assert len(training.started) == 4


def test_hydras_own_launcher_stays_usable_and_leaves_the_logging_alone() -> None:
    ours, root = logging.getLogger("plmtrain"), logging.getLogger()
    before = (ours.disabled, root.level, list(root.handlers))
    assert run("seed=1,2", "hydra/launcher=basic") == 0
    assert [row["state"] for row in table()] == ["finished"] * 2
    assert (ours.disabled, root.level, root.handlers) == before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.usefixtures("processes")
def test_a_signal_reaches_the_job_and_ends_the_sweep(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STAND_IN", "hang")
    # The stand-in understands TERM alone; a job of ours understands both.
    monkeypatch.setattr(sweep_job, "stop", _as_term(sweep_job.stop))

    def ask() -> None:
        while not Path("hanging").exists():
            time.sleep(0.02)
        os.kill(os.getpid(), number)

    threading.Thread(target=ask, daemon=True).start()
    before = signal.getsignal(number)
    begun = time.monotonic()
    assert run("seed=1,2,3") == 75
    assert time.monotonic() - begun < 30
    assert signal.getsignal(number) is before
    rows = table()
    assert [row["job"] for row in rows] == ["1", "2", "3"]
    assert [row["state"] for row in rows] == ["stopped", "waiting", "waiting"]
    assert [row["exit_code"] for row in rows] == ["75", "", ""]
    told = capfd.readouterr().err
    assert "[1/3] seed=1: stopped" in told
    assert "[3/3] seed=3: not begun" in told
    assert told.count("again to stop them at once") == 1
    assert len(list(Path("runs/sweeps").rglob("*.log"))) == 1


def _as_term(stop):
    return lambda number: stop(signal.SIGTERM)


def test_secrets_stay_out_of_the_sweeps_folder() -> None:
    token = "hf_" + "a1B2" * 8
    run("name=mine", f"tracker.project={token}", "seed=1,2")
    for path in Path("runs/sweeps").rglob("*"):
        assert not path.is_file() or token not in path.read_text()


def test_the_sample_sweep_is_sound(tmp_path: Path, training: Training) -> None:
    """The script's own command, with its training stood in for."""
    program = tmp_path / "bin" / "plmtrain"
    program.parent.mkdir()
    program.write_text('#!/bin/bash\nprintf "%s\\n" "$@"\n')
    program.chmod(0o755)
    script = Path(__file__).parents[2] / "scripts" / "sweep_learning_rate.sh"
    path = f"{program.parent}:{os.environ['PATH']}"
    done = subprocess.run([script, "seed=3"], env={**os.environ, "PATH": path}, capture_output=True, text=True, check=True)
    verb, flag, *overrides = done.stdout.split()
    assert (verb, flag) == ("pretrain", "-m")
    assert run(*[text for text in overrides if text != "seed=1,2"]) == 0
    assert len(training.started) == 3


@pytest.mark.parametrize("launcher", ["submitit_local", "joblib"])
def test_other_launchers_run_the_jobs_in_processes_of_their_own(training: Training, launcher: str) -> None:
    """In which the stand-in is not known: they find the jobs finished, and write their records again."""
    pytest.importorskip(f"hydra_plugins.hydra_{launcher.removesuffix('_local')}_launcher")
    command = ["size=tiny", "seed=1,2"]
    assert run(*command) == 0
    (first,) = Path("runs/sweeps").iterdir()

    def launched() -> None:
        assert run(*command, f"hydra/launcher={launcher}") == 0
        if launcher == "joblib":  # its processes would wait for more
            from joblib.externals.loky import get_reusable_executor

            get_reusable_executor().shutdown(wait=True, kill_workers=True)

    child = in_child(launched)  # Hydra changes the logging of the process
    wait_for([child], 120)
    assert child.exitcode == 0
    (second,) = set(Path("runs/sweeps").iterdir()) - {first}
    states = [[json.loads(path.read_text())["state"] for path in (folder / "jobs").glob("*.json")] for folder in (first, second)]
    assert states == [["finished"] * 2] * 2
