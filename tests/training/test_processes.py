"""One process or two, micro-batches or none: the same samples, the same noise, the same losses and weights."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from support.every_program import PROGRAMS
from support.tiny_run import TinyRun, in_child, in_group
from torch.nn.parallel import DistributedDataParallel

from plmtrain.errors import DistributedError, SettingsError, understood
from plmtrain.training.group import Group
from plmtrain.training.run_folder import RunFolder

NO_DROPOUT = ("model.dropout=0", "model.attention_dropout=0")


def weights(run: TinyRun) -> Mapping[str, torch.Tensor]:
    checkpoint = RunFolder(run.path).checkpoints().newest()
    assert checkpoint is not None
    return checkpoint.load("model")


def assert_same_run(one: TinyRun, other: TinyRun) -> None:
    for left, right in zip(one.records(), other.records(), strict=True):
        assert left == pytest.approx(right, rel=1e-5, abs=1e-8)
    for name, tensor in weights(one).items():
        torch.testing.assert_close(tensor, weights(other)[name], rtol=1e-4, atol=1e-6)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> TinyRun:
    """Twelve steps in one process, each batch at once, without dropout."""
    run = TinyRun(tmp_path_factory.mktemp("alone"), NO_DROPOUT)
    assert in_child(run.go) == 0
    return run


@pytest.mark.parametrize("size", [1, 3])
def test_micro_batches_change_nothing(alone: TinyRun, tmp_path: Path, size: int) -> None:
    """Even where they are of unequal size, and hold unequal numbers of predicted tokens."""
    run = TinyRun(tmp_path / "run", (*NO_DROPOUT, f"trainer.micro_batch_size={size}"))
    assert in_child(run.go) == 0
    assert_same_run(alone, run)


@pytest.mark.parametrize("overrides", [(), ("trainer.micro_batch_size=3",)])
def test_two_processes_change_nothing(alone: TinyRun, tmp_path: Path, overrides: tuple[str, ...]) -> None:
    run = TinyRun(tmp_path / "run", (*NO_DROPOUT, *overrides))
    assert in_group(run.go, 2) == [0, 0]
    assert_same_run(alone, run)


def test_two_processes_change_nothing_where_rows_differ_in_length(tmp_path: Path) -> None:
    """T5's tokens that are cut out one by one: each process pads to its own longest row."""
    kind = PROGRAMS["span_corruption"]
    one, two = (kind.run(tmp_path / name, "objective.mean_span_length=null", *NO_DROPOUT) for name in ("one", "two"))
    assert in_child(one.go) == 0
    assert in_group(two.go, 2) == [0, 0]
    assert_same_run(one, two)


def test_processes_may_change_at_a_resume(alone: TinyRun, tmp_path: Path) -> None:
    run = TinyRun(tmp_path / "run", NO_DROPOUT)
    assert in_group(run.go, 2, "train.forward@5", faulty_rank=0)[0] == -signal.SIGKILL
    assert in_group(run.go, 4, "train.forward@9:term", faulty_rank=2) == [75] * 4
    assert in_child(run.go) == 0
    assert_same_run(alone, run)


def test_weights_are_equal_in_all_processes(tmp_path: Path) -> None:
    run = TinyRun(tmp_path / "run", ("trainer.steps=3",))

    def go_and_write() -> None:
        trainer = run.go()
        whole = torch.cat([parameter.detach().flatten() for parameter in trainer.state.learner.parameters()])
        (tmp_path / f"rank-{trainer.setup.group.rank}").write_bytes(whole.numpy().tobytes())

    assert in_group(go_and_write, 2) == [0, 0]
    assert (tmp_path / "rank-0").read_bytes() == (tmp_path / "rank-1").read_bytes()


def test_two_processes_resume_exactly_with_dropout_on(tmp_path: Path) -> None:
    whole = TinyRun(tmp_path / "whole", ("trainer.micro_batch_size=2",))
    assert in_group(whole.go, 2) == [0, 0]
    for point in ("train.accum@6", "save.rename@8", "train.forward@10"):
        run = TinyRun(tmp_path / point, ("trainer.micro_batch_size=2",))
        codes = in_group(run.go, 2, point, faulty_rank=0)
        assert codes[0] == -signal.SIGKILL
        assert codes[1] != 0
        assert in_group(run.go, 2) == [0, 0]
        assert run.digest() == whole.digest()


def test_a_signal_to_one_process_stops_all_at_the_same_step(tmp_path: Path) -> None:
    run = TinyRun(tmp_path / "run")
    assert in_group(run.go, 2, "train.forward@5:term", faulty_rank=1) == [75, 75]
    checkpoint = RunFolder(run.path).checkpoints().newest()
    assert checkpoint is not None
    assert checkpoint.step == 6


def test_a_gradient_that_is_not_finite_in_one_process_changes_weights_in_none(tmp_path: Path) -> None:
    run = TinyRun(tmp_path / "run", ("trainer.save_every=1",))
    assert in_group(run.go, 2, "train.backward@5:nan", faulty_rank=1) == [5, 5]
    checkpoint = RunFolder(run.path).checkpoints().newest()
    assert checkpoint is not None
    assert checkpoint.step == 5
    assert all(tensor.isfinite().all() for tensor in checkpoint.load("model").values())


def test_who_loses_another_process_says_so(tmp_path: Path) -> None:
    """A killed process is no fault of ours: exit code 8, and no call for a bug report."""
    run = TinyRun(tmp_path / "run")

    def go() -> None:
        try:
            run.go()
        except RuntimeError as error:
            problem = understood(error)
            assert isinstance(problem, DistributedError)
            raise problem from error

    assert in_group(go, 2, "train.backward@3", faulty_rank=1) == [DistributedError.exit_code, -signal.SIGKILL]


def test_a_gpu_that_is_not_there_is_not_replaced_in_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SettingsError, match="no GPU"):
        Group("cuda", 60, 1)


def test_no_wrapped_model_outlives_the_group(tmp_path: Path) -> None:
    """Freed after the group was left, it ended the group's threads with Python's lock held, and sometimes waited for ever."""
    run = TinyRun(tmp_path / "run", ("trainer.steps=2",))

    def act() -> None:
        trainer = run.go()
        kept = [one for one in gc.get_objects() if type(one) is DistributedDataParallel]
        os._exit(3 if kept or type(trainer.module) is DistributedDataParallel else 0)

    assert in_group(act, 2) == [0, 0]
