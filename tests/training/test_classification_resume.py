"""Fine-tuning is bound by what binds pretraining: resumed to the bit, and the same over processes, workers and micro-batches."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from support.tiny_run import TinyRun, in_child, in_group
from support.tiny_task import examples, program

from plmtrain.settings.composing.compose import compose
from plmtrain.settings.decode import pretrain_settings
from plmtrain.training.run_folder import RunFolder

NO_DROPOUT = ("model.dropout=0", "model.attention_dropout=0")
MICRO = ("trainer.micro_batch_size=3", "trainer.evaluate_every=3")


def run_in(path: Path, *overrides: str, dropout: float | None = None) -> TinyRun:
    """A run of 12 steps of 8 over 37 examples of all lengths, in epochs that end inside a step, with a best checkpoint."""
    run = TinyRun(path, overrides)
    shape = ["trainer.sequence_length=14", *(NO_DROPOUT if dropout == 0 else ())]
    settings = pretrain_settings(compose([*run.system, *shape]))
    run.program = program(settings.model, dropout=dropout)
    most = run.program.row_shape(14).length
    run.rows, run.held_out = examples(37, most), examples(11, most, seed=1)
    return run


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> str:
    run = run_in(tmp_path_factory.mktemp("unbroken"), *MICRO)
    run.go()
    return run.digest()


@pytest.mark.parametrize("fault", ["train.accum@6", "save.rename@8", "train.forward@4", "eval@9", "save.write@12"])
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
        assert one == pytest.approx(other, rel=1e-5, abs=1e-7)


def test_the_best_checkpoint_is_kept_and_known(tmp_path: Path) -> None:
    run = run_in(tmp_path / "run", "trainer.evaluate_every=1", "trainer.save_every=100")
    run.go()
    validations = {int(record["step"]): record["val/accuracy"] for record in run.records() if "val/accuracy" in record}
    assert len(validations) == 12
    best = max(validations, key=lambda step: (validations[step], -step))
    newest = RunFolder(run.path).checkpoints().newest()
    assert newest is not None
    assert (newest.step, newest.progress.best_step, newest.progress.best_metric) == (12, best, validations[best])
    assert RunFolder(run.path).checkpoints().at(best).step == best
    assert "val/perplexity" not in run.records()[-1]
