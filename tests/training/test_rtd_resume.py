"""Replaced token detection: resumed bit for bit, and the same over micro-batches, processes and workers."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
import torch
from support.tiny_run import TinyRun, in_child, in_group

from plmtrain.training.run_folder import RunFolder

RTD = (
    "model=electra model.layers=2 model.width=16 model.heads=2 model.feed_forward=32 model.embedding_width=12 model.positions=32 "
    "objective=rtd objective.generator_width=0.5"
).split()
NO_DROPOUT = ("model.dropout=0", "model.attention_dropout=0")


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> str:
    run = TinyRun(tmp_path_factory.mktemp("unbroken"), ("trainer.micro_batch_size=4",), RTD)
    assert in_child(run.go) == 0
    return run.digest()


@pytest.mark.parametrize("fault", ["train.accum@6", "save.rename@8", "train.forward@5"])
def test_killed_and_resumed(unbroken: str, tmp_path: Path, fault: str) -> None:
    """Inside an accumulation, inside a save, and where the second epoch begins (step 5 of 8 rows over 40)."""
    run = TinyRun(tmp_path / "run", ("trainer.micro_batch_size=4", "trainer.workers=2"), RTD)
    assert in_child(run.go, fault) == -signal.SIGKILL
    run.overrides = ("trainer.micro_batch_size=4",)
    assert in_child(run.go) == 0
    assert run.digest() == unbroken


@pytest.mark.parametrize("micro", [8, 3])
def test_micro_batches_and_processes_change_nothing(tmp_path: Path, micro: int) -> None:
    alone = TinyRun(tmp_path / "alone", NO_DROPOUT, RTD)
    assert in_child(alone.go) == 0
    other = TinyRun(tmp_path / "other", (*NO_DROPOUT, f"trainer.micro_batch_size={micro}"), RTD)
    assert in_group(other.go, 2) == [0, 0] if micro == 8 else in_child(other.go) == 0
    for left, right in zip(alone.records(), other.records(), strict=True):
        # The area is counted in bins: a logit at the edge of one may fall to either side.
        loose = {key for key in left if "auc" in key}
        assert {key: left[key] for key in left.keys() - loose} == pytest.approx(
            {key: right[key] for key in right.keys() - loose}, rel=1e-5, abs=1e-8
        )
        assert {key: left[key] for key in loose} == pytest.approx({key: right[key] for key in loose}, abs=1e-3)
    one, two = (RunFolder(run.path).checkpoints().newest() for run in (alone, other))
    assert one is not None
    assert two is not None
    weights = two.load("model")
    for name, tensor in one.load("model").items():
        torch.testing.assert_close(tensor, weights[name], rtol=1e-4, atol=1e-6)
