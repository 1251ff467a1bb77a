"""Killed at any instant and started again, a run comes to the same weights and numbers, bit for bit, with dropout on."""

from __future__ import annotations

import random
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from support.tiny_run import MemoryRows, TinyRun, in_child

from plmtrain.training.run_folder import RunFolder

PHASES = "trainer.phases=[{steps:5},{steps:7,sequence_length:20,batch_size:4,objective:{mask_probability:0.3}}]"


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The digest of the run that nothing disturbs: 12 steps of 8 rows over 40 rows, two epochs and more."""
    run = TinyRun(tmp_path_factory.mktemp("unbroken"), ("trainer.micro_batch_size=4",))
    run.go()
    assert [record["step"] for record in run.records() if "loss" in record] == list(range(1, 13))
    return run.digest()


def finish(run: TinyRun) -> str:
    """Go on to the end and digest the outcome."""
    assert in_child(run.go) == 0
    return run.digest()


@pytest.mark.parametrize("step", range(12))
def test_killed_before_any_step(unbroken: str, tmp_path: Path, step: int) -> None:
    run = TinyRun(tmp_path / "run", ("trainer.micro_batch_size=4",))
    assert in_child(run.go, f"train.forward@{step}") == -signal.SIGKILL
    assert finish(run) == unbroken


@pytest.mark.parametrize(
    "fault",
    [
        "train.accum@6",  # inside an accumulation: the whole step is taken again
        "train.backward@7",
        "optim.before_step@9",
        "optim.after_step@4",
        "eval@5",
        "save.open@8",
        "save.write@8",
        "save.fsync@8",
        "save.rename@8",
        "save.retention@12",
    ],
)
def test_killed_inside_a_step_a_validation_or_a_save(unbroken: str, tmp_path: Path, fault: str) -> None:
    run = TinyRun(tmp_path / "run", ("trainer.micro_batch_size=4",))
    assert in_child(run.go, fault) == -signal.SIGKILL
    assert finish(run) == unbroken


def test_killed_ten_times(unbroken: str, tmp_path: Path) -> None:
    run = TinyRun(tmp_path / "run", ("trainer.micro_batch_size=4", "trainer.save_every=1"))
    for step in range(1, 11):
        assert in_child(run.go, f"train.forward@{step}") == -signal.SIGKILL
    assert finish(run) == unbroken


@pytest.mark.parametrize("point", ["train.forward@5", "train.accum@5", "eval@10", "save.write@8"])
@pytest.mark.parametrize("action", ["term", "usr1", "int"])
def test_asked_to_stop(unbroken: str, tmp_path: Path, point: str, action: str) -> None:
    """A signal loses nothing at all: the step is finished and saved, and the run goes on from there."""
    run = TinyRun(tmp_path / "run", ("trainer.micro_batch_size=4",))
    assert in_child(run.go, f"{point}:{action}") == 75
    checkpoint = RunFolder(run.path).checkpoints().newest()
    assert checkpoint is not None
    assert checkpoint.step == {"train.forward@5": 6, "train.accum@5": 6, "eval@10": 10, "save.write@8": 9}[point]
    assert finish(run) == unbroken


def test_poisoned_generators_change_nothing(unbroken: str, tmp_path: Path) -> None:
    """Nothing that the run draws comes from a generator that somebody else could touch (RX7)."""
    run = TinyRun(tmp_path / "run", ("trainer.micro_batch_size=4",))
    faults = ",".join(f"optim.after_step@{step}:poison_rng" for step in range(12))
    assert in_child(run.go, faults) == 0
    assert run.digest() == unbroken


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_may_change_at_a_resume(unbroken: str, tmp_path: Path, workers: int) -> None:
    run = TinyRun(tmp_path / "run", ("trainer.micro_batch_size=4", f"trainer.workers={workers}"))
    assert in_child(run.go, "train.forward@6") == -signal.SIGKILL
    run.overrides = ("trainer.micro_batch_size=4", "trainer.workers=0")
    assert finish(run) == unbroken


def test_phases(tmp_path: Path) -> None:
    """A run whose sequence length, batch and mask rate change is resumed on both sides of the change."""
    whole = TinyRun(tmp_path / "whole", (PHASES,))
    expected = finish(whole)
    for step in (4, 5, 9):
        run = TinyRun(tmp_path / f"killed-{step}", (PHASES,))
        assert in_child(run.go, f"train.forward@{step}") == -signal.SIGKILL
        assert finish(run) == expected


def test_another_seed_is_another_run(unbroken: str, tmp_path: Path) -> None:
    """The digest does see a difference."""
    run = TinyRun(tmp_path / "run", ("trainer.micro_batch_size=4", "seed=2"))
    assert finish(run) != unbroken


def test_resume_is_instant_in_ten_million_rows(tmp_path: Path) -> None:
    """Seeking costs the same wherever the run stands (RX8): nothing is read on the way there."""

    class Counting(MemoryRows):
        fetched = 0

        def __len__(self) -> int:
            return 10_000_000

        def fetch(self, indices: np.ndarray) -> object:
            Counting.fetched += len(indices)
            return super().fetch(indices % len(self.tokens))

    rows = Counting(40, 12)
    run = TinyRun(tmp_path / "run", ("trainer.steps=1000000",), rows=rows)
    trainer = run.trainer()
    trainer.progress = type(trainer.progress)(step=900_000)
    number, batches = next(iter(trainer._steps()))
    assert number == 900_000
    assert Counting.fetched == sum(len(batch.samples) for batch in batches) == 8


def test_global_generators_are_left_alone(tmp_path: Path) -> None:
    """Training reseeds torch for dropout, and touches neither Python's generator nor NumPy's."""
    random.seed(5)
    np.random.seed(5)
    expected = random.random(), np.random.rand()
    random.seed(5)
    np.random.seed(5)
    TinyRun(tmp_path / "run", ("trainer.steps=2",)).go()
    assert (random.random(), np.random.rand()) == expected
    assert torch.initial_seed() != 5
