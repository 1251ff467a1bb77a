"""A suite of tasks as one sweep: each task once, and one table with averages."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import pytest

from plmtrain.commands.sweep import command as sweep
from plmtrain.commands.sweep.job import SweepJob
from plmtrain.errors import SettingsErrors
from plmtrain.settings.composing.arguments import parse_arguments
from plmtrain.settings.composing.compose import compose
from plmtrain.settings.decode import run_settings
from plmtrain.settings.identity import run_name
from plmtrain.settings.kinds import FINETUNE
from plmtrain.training.run_folder import RunFolder


def test_a_suite_is_a_sweep_over_its_tasks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """And ends in one table, with averages by hand; a job is run once, and without -m it is said what to write."""
    monkeypatch.chdir(tmp_path)
    started: list[str] = []

    def trained(job: SweepJob, overrides: Sequence[str], log: Path) -> int:
        settings = run_settings(compose(overrides, job.config_dir, "finetune"), FINETUNE)
        task = settings.task
        started.append(task.name)
        if task.name == "qnli" and len(started) < 10:
            return 5
        run = RunFolder.below(settings.runs_dir, run_name(settings)).create()
        run.write_config(settings.model_dump(mode="json"))
        with run.metrics() as metrics:
            metrics.write({"step": 2, "val/loss": 9.0, **{f"val/{name}": 0.5 + 0.25 * n for n, name in enumerate(task.metrics)}})
        run.write_status("finished", 0)
        return 0

    monkeypatch.setattr(SweepJob, "_process", trained)
    command = parse_arguments(["-m", "task=glue", "model=bert", "size=tiny", "task.folder=here"])
    assert sweep.run("finetune", command) == 5
    assert sorted(started) == ["cola", "mnli", "mrpc", "qnli", "qqp", "rte", "sst2", "stsb", "wnli"]
    assert "there is no average of a line while a task is missing: glue/qnli" in capfd.readouterr().out
    assert sweep.run("finetune", command) == 0
    assert started[9:] == ["qnli"]
    (path,) = Path("runs/sweeps").glob("*/suite.csv")
    with path.open() as file:
        (row,) = csv.DictReader(file)
    scores = dict.fromkeys(("cola", "mnli", "qnli", "rte", "sst2", "wnli"), 0.5) | dict.fromkeys(("mrpc", "qqp", "stsb"), 0.625)
    averages = {"average": 4.875 / 9, "without wnli": 4.375 / 8}
    assert {key: float(value) for key, value in row.items()} == pytest.approx(scores | averages)
    drawn = capfd.readouterr().out
    assert "0.5417" in drawn
    assert "many papers omit it" in drawn
    assert "0.5417" in path.with_name("summary.md").read_text()
    with pytest.raises(SettingsErrors, match=r"(?s)task=glue has 9 choices: glue/cola, .*add -m to run each"):
        run_settings(compose(["task=glue"], None, "finetune"), FINETUNE)
