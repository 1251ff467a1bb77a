"""What goes on from step to step: it counts, it is handed out anew when the processes change, and nothing spoilt goes on."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support.every_program import PROGRAMS
from support.tiny_run import TinyRun, in_child, in_group

NO_DROPOUT = ("model.dropout=0", "model.attention_dropout=0")
XLNET = PROGRAMS["plm"]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> TinyRun:
    """Twelve steps in one process, over more than two epochs of the streams, each batch at once."""
    run = XLNET.run(tmp_path_factory.mktemp("alone"), *NO_DROPOUT)
    assert in_child(run.go) == 0
    assert {name: list(tensor.shape) for name, tensor in run.checkpoint.load("carry").items()} == {
        "memory": [8, 2, 12, 16],
        "memory_documents": [8, 12],
    }
    return run


def test_the_memory_changes_the_loss(alone: TinyRun, tmp_path: Path) -> None:
    forgetful = XLNET.run(tmp_path, *NO_DROPOUT, "objective.mem_len=0")
    assert in_child(forgetful.go) == 0
    losses = [[record["loss"] for record in run.records() if "loss" in record] for run in (alone, forgetful)]
    assert losses[0][0] == losses[1][0]  # there is nothing to remember yet
    assert all(one != other for one, other in zip(losses[0][1:5], losses[1][1:5], strict=True))


def test_processes_may_change_at_every_resume(alone: TinyRun, tmp_path: Path) -> None:
    """One, two, four and one again: in the middle of an epoch and at its edge."""
    run = XLNET.run(tmp_path, *NO_DROPOUT)
    assert in_child(run.go, "train.forward@2:term") == 75
    assert in_group(run.go, 2, "train.forward@4:term", faulty_rank=1) == [75] * 2
    assert in_group(run.go, 4, "train.forward@8:term", faulty_rank=2) == [75] * 4
    assert in_child(run.go) == 0
    for record, expected in zip(run.records(), alone.records(), strict=True):
        assert record == pytest.approx(expected, rel=1e-5, abs=1e-7)
    carry, expected = run.checkpoint.load("carry"), alone.checkpoint.load("carry")
    assert carry.keys() == expected.keys()
    assert torch.equal(carry["memory_documents"], expected["memory_documents"])
    torch.testing.assert_close(carry["memory"], expected["memory"], rtol=1e-3, atol=1e-4)


def test_nothing_goes_on_beside_a_gradient_that_is_not_finite(tmp_path: Path) -> None:
    run = XLNET.run(tmp_path, "trainer.on_nonfinite=skip", "trainer.steps=4")
    assert in_child(run.go, "train.backward@2:nan") == 0
    assert len([record for record in run.records() if "loss" in record]) == 4
    carry = run.checkpoint.load("carry")
    assert carry["memory"].shape[2] == 7  # of the last step alone
    assert all(tensor.isfinite().all() for tensor in carry.values())
