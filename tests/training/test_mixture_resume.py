"""Mixtures: resumed bit for bit, in phases too, and the same over micro-batches, processes and workers."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
import torch
from support.tiny_run import TinyRun, in_child, in_group

from plmtrain.training.run_folder import RunFolder

MIXTURE = (
    "model=electra model.layers=2 model.width=16 model.heads=2 model.feed_forward=32 model.embedding_width=12 model.positions=32 "
    "objective=mixture objective.shares={dynamic_mlm:2,rtd:1,dense:1} objective.parts.rtd.generator_width=0.5 "
    "objective.parts.dense.name=mlm objective.parts.dense.mask_probability=0.4"
).split()
NO_DROPOUT = ("model.dropout=0", "model.attention_dropout=0")
MICRO = "trainer.micro_batch_size=4"
PHASES = (
    "trainer.phases=[{steps:5,objective:{shares:{rtd:0,dense:0}}},"
    "{steps:7,sequence_length:20,batch_size:4,objective:{shares:{dynamic_mlm:0,rtd:2},parts:{rtd:{mask_probability:0.3}}}}]"
)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> str:
    run = TinyRun(tmp_path_factory.mktemp("unbroken"), (MICRO,), MIXTURE)
    assert in_child(run.go) == 0
    drawn = [key for record in run.records() for key in record if key.startswith("loss/")]
    assert {key.split("/")[1] for key in drawn} == {"dynamic_mlm", "rtd", "dense"}
    return run.digest()


@pytest.mark.parametrize("fault", ["train.accum@6", "save.rename@8", "train.forward@5"])
def test_killed_and_resumed(unbroken: str, tmp_path: Path, fault: str) -> None:
    """Inside an accumulation, inside a save, and where the second epoch of a part begins; with workers, and without."""
    run = TinyRun(tmp_path / "run", (MICRO, "trainer.workers=2"), MIXTURE)
    assert in_child(run.go, fault) == -signal.SIGKILL
    run.overrides = (MICRO,)
    assert in_child(run.go) == 0
    assert run.digest() == unbroken


def test_phases_of_other_objectives_are_resumed(tmp_path: Path) -> None:
    """One objective first and others then: killed before the change, at it and behind it."""
    whole = TinyRun(tmp_path / "whole", (PHASES,), MIXTURE)
    assert in_child(whole.go) == 0
    steps = [record for record in whole.records() if "loss" in record]
    trained = [{key.split("/")[1] for key in record if key.startswith("loss/")} for record in steps]
    assert trained[:5] == [{"dynamic_mlm"}] * 5
    assert set().union(*trained[5:]) == {"dense", "rtd"}
    for step in (4, 5, 6):
        run = TinyRun(tmp_path / f"killed-{step}", (PHASES, "trainer.save_every=1"), MIXTURE)
        assert in_child(run.go, f"train.forward@{step}") == -signal.SIGKILL
        assert in_child(run.go) == 0
        assert run.digest() == whole.digest()


@pytest.mark.parametrize("micro", [8, 3])
def test_micro_batches_and_processes_change_nothing(tmp_path: Path, micro: int) -> None:
    alone = TinyRun(tmp_path / "alone", NO_DROPOUT, MIXTURE)
    assert in_child(alone.go) == 0
    other = TinyRun(tmp_path / "other", (*NO_DROPOUT, f"trainer.micro_batch_size={micro}"), MIXTURE)
    assert in_group(other.go, 2) == [0, 0] if micro == 8 else in_child(other.go) == 0
    for left, right in zip(alone.records(), other.records(), strict=True):
        assert left.keys() == right.keys()
        exact = {key for key in left if "auc" not in key}  # the area is counted in bins
        assert {key: left[key] for key in exact} == pytest.approx({key: right[key] for key in exact}, rel=1e-5, abs=1e-8)
    one, two = (RunFolder(run.path).checkpoints().newest() for run in (alone, other))
    assert one is not None
    assert two is not None
    for group, tolerance in (("model", 1e-4), ("optimizer", 1e-3)):
        found = two.load(group)
        for name, tensor in one.load(group).items():
            if name.endswith(".step"):
                assert tensor == found[name], name  # a head that was not drawn is not updated in any process
            torch.testing.assert_close(tensor, found[name], rtol=tolerance, atol=1e-6)


def test_two_processes_resume_exactly(tmp_path: Path) -> None:
    whole = TinyRun(tmp_path / "whole", ("trainer.micro_batch_size=2",), MIXTURE)
    assert in_group(whole.go, 2) == [0, 0]
    run = TinyRun(tmp_path / "run", ("trainer.micro_batch_size=2",), MIXTURE)
    assert in_group(run.go, 2, "train.accum@6", faulty_rank=0)[0] == -signal.SIGKILL
    assert in_group(run.go, 2) == [0, 0]
    assert run.digest() == whole.digest()
