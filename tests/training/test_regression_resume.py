"""Regression, whose validation scores all predictions at once: resumed to the bit, and the same over processes and workers."""

from __future__ import annotations

import math
import signal
from pathlib import Path

import pytest
from support.tiny_run import TinyRun, in_child, in_group
from support.tiny_task import scored_examples, scorer

from plmtrain.settings.composing.compose import compose
from plmtrain.settings.decode import pretrain_settings
from plmtrain.training.run_folder import RunFolder

NO_DROPOUT = ("model.dropout=0", "model.attention_dropout=0")
CORRELATIONS = ("val/spearman", "val/pearson")
MICRO = ("trainer.micro_batch_size=3", "trainer.evaluate_every=3")


def run_in(path: Path, *overrides: str, dropout: float | None = None) -> TinyRun:
    """A run of 12 steps of 8 over 37 examples, in epochs that end inside a step, with a checkpoint that is best by Spearman's
    correlation."""
    run = TinyRun(path, overrides)
    shape = ["trainer.sequence_length=14", *(NO_DROPOUT if dropout == 0 else ())]
    settings = pretrain_settings(compose([*run.system, *shape]))
    run.program = scorer(settings.model, dropout=dropout)
    most = run.program.row_shape(14).length
    run.rows, run.held_out = scored_examples(37, most), scored_examples(11, most, seed=1)
    return run


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> str:
    run = run_in(tmp_path_factory.mktemp("unbroken"), *MICRO)
    run.go()
    return run.digest()


@pytest.mark.parametrize("fault", ["train.accum@6", "save.rename@8", "eval@9", "save.write@12"])
def test_killed_and_resumed_it_is_the_unbroken_run(unbroken: str, tmp_path: Path, fault: str) -> None:
    run = run_in(tmp_path / "run", *MICRO)
    assert in_child(run.go, fault) == -signal.SIGKILL
    assert in_child(run.go) == 0
    assert run.digest() == unbroken


def test_workers_change_nothing(unbroken: str, tmp_path: Path) -> None:
    run = run_in(tmp_path / "run", *MICRO, "trainer.workers=2")
    assert in_child(run.go) == 0
    assert run.digest() == unbroken


@pytest.mark.parametrize(("size", "micro"), [(1, 3), (2, 4), (2, 3)])
def test_processes_and_micro_batches_change_nothing(tmp_path: Path, size: int, micro: int) -> None:
    """Even where rows are padded to other lengths."""
    alone = run_in(tmp_path / "alone", *NO_DROPOUT, dropout=0.0)
    assert in_child(alone.go) == 0
    run = run_in(tmp_path / "run", *NO_DROPOUT, f"trainer.micro_batch_size={micro}", dropout=0.0)
    assert in_group(run.go, size) == [0] * size
    for one, other in zip(alone.records(), run.records(), strict=True):
        # A correlation of few and similar scores shows how rows of other lengths are rounded.
        correlations = [{name: record.get(name, 0) for name in CORRELATIONS} for record in (one, other)]
        assert correlations[0] == pytest.approx(correlations[1], abs=1e-2)
        sums = [{name: value for name, value in record.items() if name not in CORRELATIONS} for record in (one, other)]
        assert sums[0] == pytest.approx(sums[1], rel=1e-5, abs=1e-7)


def test_a_correlation_that_is_undefined_is_told_and_chooses_nothing(tmp_path: Path) -> None:
    """A learning rate of nothing, and a head that gives every text the same score."""
    run = run_in(tmp_path / "run", "optimizer.lr=1e-30", "trainer.steps=2", "trainer.evaluate_every=1")
    trainer = run.trainer()
    trainer.state.learner.head.scores.weight.data.zero_()
    trainer.state.learner.head.scores.bias.data.fill_(1.0)
    trainer.run()
    assert [record["val/spearman"] for record in run.records() if "val/mse" in record] == [
        pytest.approx(math.nan, nan_ok=True)
    ] * 2
    assert (trainer.progress.best_step, trainer.progress.best_metric) == (None, None)
    assert run.recorder.notes[0].startswith("step 1: val/spearman is undefined for these answers")


def test_the_best_checkpoint_is_kept_and_known(tmp_path: Path) -> None:
    run = run_in(tmp_path / "run", "trainer.evaluate_every=1", "trainer.save_every=100")
    run.go()
    validations = {int(record["step"]): record["val/spearman"] for record in run.records() if "val/spearman" in record}
    assert len(validations) == 12
    best = max(validations, key=lambda step: (validations[step], -step))
    newest = RunFolder(run.path).checkpoints().newest()
    assert newest is not None
    assert (newest.step, newest.progress.best_step, newest.progress.best_metric) == (12, best, validations[best])
    assert RunFolder(run.path).checkpoints().at(best).step == best
    assert "val/perplexity" not in run.records()[-1]
