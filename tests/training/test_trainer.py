"""What the trainer does at the edges between steps, and with numbers that are not numbers."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from support.every_program import PROGRAMS
from support.memory_rows import VOCABULARY, MemoryPairs, MemoryRows, memory_rows
from support.tiny_run import TinyRun, in_child
from torch.nn import functional

from plmtrain.keyed_random import Keys
from plmtrain.training.run_folder import RunFolder


def test_early_stop_ends_the_run_and_stays_ended(tmp_path: Path) -> None:
    """With a learning rate of nothing no validation is better than the first: the second ends the run."""
    run = TinyRun(tmp_path / "run", ("trainer.patience=1", "optimizer.lr=1e-30"))
    trainer = run.go()
    assert trainer.stopped_early
    assert trainer.progress.step == 10
    assert run.go().progress.step == 10
    assert [record["step"] for record in run.records() if "val/loss" in record] == [5, 10]


def test_a_validation_that_is_no_number_is_never_the_best(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing compares with it: as the best one it would stay so for ever."""
    losses = iter([math.nan, 3.0, 2.0])
    monkeypatch.setattr("plmtrain.training.trainer.evaluate", lambda *arguments, **options: {"loss": next(losses)})
    progress = TinyRun(tmp_path / "run", ("trainer.patience=2",)).go().progress
    assert (progress.best_step, progress.best_metric, progress.evaluations_without_improvement) == (12, 2.0, 0)


@pytest.mark.parametrize("step", [5, 12], ids=["on the way", "at the end"])
def test_a_stop_during_a_validation_loses_none(tmp_path: Path, step: int) -> None:
    """Not even the last one: it may say which checkpoint is the run's result, and the checkpoint must know of it."""
    whole, stopped = TinyRun(tmp_path / "whole"), TinyRun(tmp_path / "stopped")
    assert in_child(whole.go) == 0
    assert in_child(stopped.go, f"eval@{step}:term") == 75
    assert in_child(stopped.go) == 0
    assert stopped.digest() == whole.digest()


def test_an_update_that_is_not_finite_can_be_skipped(tmp_path: Path) -> None:
    run = TinyRun(tmp_path / "run", ("trainer.on_nonfinite=skip",))

    def go() -> None:
        trainer = run.go()
        assert trainer.progress.skipped_steps == 1
        assert trainer.progress.skipped_in_a_row == 0

    assert in_child(go, "train.backward@3:nan") == 0
    (incident,) = (run.path / "incidents").iterdir()
    told = json.loads(incident.read_text())
    assert (incident.name, told["step"], len(told["samples"])) == ("step-00000004.json", 4, 8)
    checkpoint = RunFolder(run.path).checkpoints().newest()
    assert checkpoint is not None
    assert all(tensor.isfinite().all() for tensor in checkpoint.load("model").values())
    logged = {record["step"]: record for record in run.records() if "loss" in record}
    assert math.isnan(logged[4]["grad_norm"])
    assert math.isfinite(logged[5]["loss"])


def test_too_many_such_updates_in_a_row_end_the_run(tmp_path: Path) -> None:
    run = TinyRun(tmp_path / "run", ("trainer.on_nonfinite=skip", "trainer.max_skipped=2"))
    faults = ",".join(f"train.backward@{step}:nan" for step in range(3, 12))
    assert in_child(run.go, faults) == 5


def test_fp16_whose_scale_cannot_help_any_more_ends_the_run(tmp_path: Path) -> None:
    """It skips updates that overflow, in silence; but a run that learns nothing from here on has diverged."""
    run = TinyRun(tmp_path / "run", ("trainer.steps=60", "trainer.precision=fp16"))
    assert in_child(run.go, ",".join(f"train.backward@{step}:nan" for step in range(3, 60))) == 5
    assert in_child(TinyRun(tmp_path / "other", ("trainer.precision=fp16",)).go, "train.backward@3:nan") == 0


def test_a_skipped_update_changes_neither_weights_nor_moments(tmp_path: Path) -> None:
    def state(steps: int, fault: str) -> dict[str, torch.Tensor]:
        run = TinyRun(tmp_path / f"{steps}{fault}", (f"trainer.save_every={steps}", "trainer.on_nonfinite=skip"))
        assert in_child(run.go, f"{fault},train.forward@{steps}") < 0
        checkpoint = RunFolder(run.path).checkpoints().newest()
        assert checkpoint is not None
        assert checkpoint.step == steps
        return checkpoint.load("model") | checkpoint.load("optimizer")

    before, after = state(3, ""), state(4, "train.backward@3:nan")
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_validation_is_the_plain_cross_entropy_of_the_hidden_tokens(tmp_path: Path) -> None:
    """Against full logits, and the same whenever it is computed."""
    run = TinyRun(tmp_path / "run", ("optimizer.lr=1e-30",))
    trainer = run.go()
    learner, program = trainer.state.learner.eval(), trainer.setup.programs[-1]
    rows = memory_rows(program, trainer.setup.plan.phases[-1], 10, seed=1)
    everyone = np.arange(10)
    batch = program.collate(rows.fetch(everyone), Keys(0, np.zeros(10, np.int64), everyone))
    with torch.no_grad():
        scores = learner.token_scores(batch.inputs).flatten(0, 1)
    labels = torch.full((len(scores),), -100)
    labels[batch.targets["positions"]] = batch.targets["labels"]
    expected = float(functional.cross_entropy(scores, labels, ignore_index=-100))
    accuracy = float((scores.argmax(-1) == labels)[labels >= 0].float().mean())
    validations = [record for record in run.records() if "val/loss" in record]
    assert len(validations) == 3
    for record in validations:
        assert record["val/loss"] == pytest.approx(expected, rel=1e-5)
        assert record["val/perplexity"] == pytest.approx(math.exp(expected), rel=1e-5)
        assert record["val/mlm/accuracy"] == pytest.approx(accuracy)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_learns_what_fp32_does_and_resumes_exactly(tmp_path: Path, precision: str) -> None:
    overrides = (f"trainer.precision={precision}",)
    full = TinyRun(tmp_path / "full")
    half = TinyRun(tmp_path / "half", overrides)
    assert in_child(full.go) == in_child(half.go) == 0
    ends = [next(record["val/loss"] for record in reversed(run.records()) if "val/loss" in record) for run in (full, half)]
    assert ends[0] == pytest.approx(ends[1], rel=0.02)
    killed = TinyRun(tmp_path / "killed", overrides)
    assert in_child(killed.go, "train.forward@6") < 0
    assert in_child(killed.go) == 0
    assert killed.digest() == half.digest()
    weights = RunFolder(half.path).checkpoints().newest()
    assert weights is not None
    assert {tensor.dtype for tensor in weights.load("model").values()} == {torch.float32}
    assert (weights.progress.loss_scale is not None) == (precision == "fp16")


def test_it_learns(tmp_path: Path) -> None:
    """Rows whose tokens are a function of their place: the loss falls far below that of frequencies."""
    rows = MemoryRows(40, 12)
    rows.tokens = 5 + (np.arange(12)[None] * 3 + np.zeros((40, 1), np.int64)) % 59
    run = TinyRun(tmp_path / "run", ("trainer.steps=150", "optimizer.lr=0.02", "trainer.log_every=150"), rows=rows)
    run.go()
    (last,) = [record["loss"] for record in run.records() if "loss" in record]
    assert last < 0.5 < math.log(12)
    assert VOCABULARY.size == 64


@pytest.mark.parametrize("name", ["nsp", "sop"])
def test_tokens_are_counted_without_padding(tmp_path: Path, name: str) -> None:
    """Five steps of eight are one epoch of 40 pairs, each between three special tokens."""
    run = replace(PROGRAMS[name].run(tmp_path, "trainer.steps=5"), epoch=40)
    assert in_child(run.go) == 0
    lengths = MemoryPairs(40, 11).lengths
    assert [record["tokens"] for record in run.records() if "tokens" in record][-1] == lengths.sum() + 3 * 40
    held_out = next(record for record in run.records() if "val/loss" in record)
    assert held_out["val/loss"] == pytest.approx(held_out["val/loss/mlm"] + held_out[f"val/loss/{name}"])
    low, middle, high = (held_out[f"val/{name}/balanced_accuracy{end}"] for end in ("_low", "", "_high"))
    assert 0 <= low <= middle <= high <= 1
    assert "val/perplexity" not in held_out


@pytest.mark.parametrize(("name", "measure"), [("classification", "val/accuracy"), ("regression", "val/spearman")])
def test_the_best_checkpoint_of_a_task_is_kept_and_known(tmp_path: Path, name: str, measure: str) -> None:
    run = PROGRAMS[name].run(tmp_path, "trainer.evaluate_every=1", "trainer.save_every=100")
    assert in_child(run.go) == 0
    validations = {int(record["step"]): record[measure] for record in run.records() if measure in record}
    assert len(validations) == 12
    best = max(validations, key=lambda step: (validations[step], -step))
    progress = run.checkpoint.progress
    assert (run.checkpoint.step, progress.best_step, progress.best_metric) == (12, best, validations[best])
    assert run.folder.checkpoints().at(best).step == best
    assert "val/perplexity" not in run.records()[-1]


def test_a_correlation_that_is_undefined_is_told_and_chooses_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A learning rate of nothing, and a head that gives every text the same score."""
    run = PROGRAMS["regression"].run(tmp_path, "optimizer.lr=1e-30", "trainer.steps=2", "trainer.evaluate_every=1")
    trainer = run.trainer()
    trainer.state.learner.head.scores.weight.data.zero_()
    trainer.state.learner.head.scores.bias.data.fill_(1.0)
    trainer.run()
    spearman = [record["val/spearman"] for record in run.records() if "val/mse" in record]
    assert len(spearman) == 2
    assert all(map(math.isnan, spearman))
    assert (trainer.progress.best_step, trainer.progress.best_metric) == (None, None)
    assert "step 1: val/spearman is undefined for these answers" in capsys.readouterr().out
