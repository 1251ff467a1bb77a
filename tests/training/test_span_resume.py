"""Span masking, alone and with boundaries: resumed bit for bit, and the same over micro-batches, processes and workers."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
import torch
from support.tiny_run import TinyRun, in_child, in_group

from plmtrain.training.run_folder import RunFolder

BERT = "model=bert model.layers=2 model.width=16 model.heads=2 model.feed_forward=32 model.positions=32".split()
SPANBERT = [*BERT, "objective=spanbert", "objective.position_width=8", "objective.mask_probability=0.3"]
SPAN_MLM = [*BERT, "objective=span_mlm", "objective.mask_probability=0.3"]
NO_DROPOUT = ("model.dropout=0", "model.attention_dropout=0")


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> str:
    run = TinyRun(tmp_path_factory.mktemp("unbroken"), ("trainer.micro_batch_size=4",), SPANBERT)
    assert in_child(run.go) == 0
    return run.digest()


@pytest.mark.parametrize("fault", ["train.accum@6", "save.rename@8", "train.forward@5"])
def test_killed_and_resumed(unbroken: str, tmp_path: Path, fault: str) -> None:
    """Inside an accumulation, inside a save, and where the second epoch begins (step 5 of 8 rows over 40)."""
    run = TinyRun(tmp_path / "run", ("trainer.micro_batch_size=4", "trainer.workers=2"), SPANBERT)
    assert in_child(run.go, fault) == -signal.SIGKILL
    run.overrides = ("trainer.micro_batch_size=4",)
    assert in_child(run.go) == 0
    assert run.digest() == unbroken


def test_spans_alone_killed_and_resumed(tmp_path: Path) -> None:
    whole = TinyRun(tmp_path / "whole", (), SPAN_MLM)
    assert in_child(whole.go) == 0
    run = TinyRun(tmp_path / "run", (), SPAN_MLM)
    assert in_child(run.go, "train.forward@5") == -signal.SIGKILL
    assert in_child(run.go) == 0
    assert run.digest() == whole.digest()


@pytest.mark.parametrize("micro", [8, 3])
def test_micro_batches_and_processes_change_nothing(tmp_path: Path, micro: int) -> None:
    alone = TinyRun(tmp_path / "alone", NO_DROPOUT, SPANBERT)
    assert in_child(alone.go) == 0
    other = TinyRun(tmp_path / "other", (*NO_DROPOUT, f"trainer.micro_batch_size={micro}"), SPANBERT)
    assert in_group(other.go, 2) == [0, 0] if micro == 8 else in_child(other.go) == 0
    records = alone.records()
    assert any("val/loss/sbo" in record and "val/hidden_loss" in record for record in records)
    for left, right in zip(records, other.records(), strict=True):
        assert left == pytest.approx(right, rel=1e-5, abs=1e-8)
    one, two = (RunFolder(run.path).checkpoints().newest() for run in (alone, other))
    assert one is not None
    assert two is not None
    weights = two.load("model")
    for name, tensor in one.load("model").items():
        torch.testing.assert_close(tensor, weights[name], rtol=1e-4, atol=1e-6)
