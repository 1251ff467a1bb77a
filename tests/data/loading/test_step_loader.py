"""The step loader: the same batches whoever loads them and wherever loading begins, and errors that arrive as they are."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable, Iterator

import numpy as np
import psutil
import pytest
import torch
from numpy.typing import NDArray
from support.children import is_alive

from plmtrain.batch import Batch, Inputs, Layout
from plmtrain.data.loading.order import Order, plan_phases
from plmtrain.data.loading.step_loader import StepLoader
from plmtrain.data.rows.rows import Rows
from plmtrain.errors import DataError, DistributedError, SettingsError
from plmtrain.keyed_random import Keys, bits
from plmtrain.programs.parts import Parts
from plmtrain.settings.trainer import PhaseSettings, TrainerSettings


class Numbered:
    """Rows that say which they are."""

    def __init__(self, count: int, length: int) -> None:
        self.count, self.length = count, length

    def __len__(self) -> int:
        return self.count

    def fetch(self, indices: NDArray[np.int64]) -> Rows:
        tokens = np.repeat(indices[:, None], self.length, axis=1)
        return Rows(tokens=tokens, lengths=np.full(len(indices), self.length), word_starts=np.ones(tokens.shape, np.bool_))


class Noisy:
    """A program that adds keyed noise, and does something else at one sample."""

    def __init__(self, at: int | None = None, act: Callable[[], None] | None = None) -> None:
        self.at, self.act = at, act

    @property
    def parts(self) -> Parts:
        return Parts.alone(self)

    def collate(self, rows: Rows, keys: Keys) -> Batch:
        if self.act is not None and self.at in keys.samples:
            self.act()
        noise = bits("noise", keys, rows.tokens.shape[1]).astype(np.int64)
        return Batch(
            inputs=Inputs(
                ids=torch.from_numpy(rows.tokens), layout=Layout(tokens=torch.from_numpy(rows.word_starts), causal=True)
            ),
            targets={"none": torch.zeros(0, dtype=torch.int64), "half": torch.ones(2, dtype=torch.float32)},
            samples=torch.from_numpy(keys.samples),
            draws={"noise": torch.from_numpy(noise)},
            normalisers={"term": float(len(rows))},
        )


PLAN = plan_phases(
    TrainerSettings(
        steps=12,
        batch_size=6,
        micro_batch_size=2,
        sequence_length=8,
        phases=(
            PhaseSettings(steps=5),
            PhaseSettings(steps=4, sequence_length=16, batch_size=12, micro_batch_size=5),
            PhaseSettings(steps=3),
        ),
    )
)
SOURCES = [Numbered(20, 8), Numbered(11, 16), Numbered(20, 8)]


def loader(program: Noisy | None = None, **options: int) -> StepLoader:
    return StepLoader(SOURCES, [program or Noisy()] * 3, PLAN, **{"seed": 5, **options})  # type: ignore[list-item,arg-type]


def plain(batch: Batch) -> list[object]:
    tensors = [batch.inputs.ids, *batch.targets.values(), *batch.draws.values(), batch.samples, batch.layout.tokens]
    facts = [(str(tensor.dtype), tensor.tolist()) for tensor in tensors if tensor is not None]
    return [list(batch.targets), facts, dict(batch.normalisers), batch.layout.causal, batch.layout.documents]


def everything(found: StepLoader) -> list[tuple[int, list[list[object]]]]:
    return [(step, [plain(batch) for batch in batches]) for step, batches in found]


@pytest.fixture(autouse=True)
def no_process_is_left() -> Iterator[None]:
    yield
    for child in multiprocessing.active_children():
        child.join(5)
    assert not multiprocessing.active_children()


def test_steps_are_those_of_the_order() -> None:
    order = Order(5, PLAN)
    for (step, batches), expected in zip(loader(), range(12), strict=True):
        keys = order.step_samples(step, len(SOURCES[order.phase_at(step).index]))
        assert step == expected
        assert [sample for batch in batches for sample in batch.samples.tolist()] == keys.samples.tolist()
        assert [len(batch.samples) for batch in batches] == ([5, 5, 2] if 5 <= step < 9 else [2, 2, 2])
        for batch in batches:
            assert (batch.inputs.ids == batch.samples[:, None]).all()


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_workers_change_nothing_from_any_first_step(workers: int) -> None:
    whole = everything(loader())
    for first in (0, 4, 5, 11, 12):
        part = loader(first_step=first, workers=workers)
        assert len(part) == 12 - first
        assert everything(part) == whole[first:]


def test_processes_share_a_step() -> None:
    whole = dict(everything(loader()))
    parts = [dict(everything(loader(rank=rank, world=3))) for rank in range(3)]
    for step in range(12):
        taken = [batch[1][-2][1] for part in parts for batch in part[step]]  # type: ignore[index]
        assert sum(taken, []) == sum([batch[1][-2][1] for batch in whole[step]], [])  # type: ignore[index] # noqa: RUF017


def test_unequal_shares_are_refused() -> None:
    with pytest.raises(SettingsError, match="6 sequences cannot be shared equally by 4"):
        loader(world=4)


def test_global_generators_are_left_alone() -> None:
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    expected = random.random(), np.random.random(), torch.rand(1)
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    everything(loader(workers=2))
    assert (random.random(), np.random.random(), torch.rand(1)) == expected


def fail() -> None:
    raise DataError("row 7 is broken", "somewhere", "mend it")


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_arrives_as_it_is(workers: int) -> None:
    with pytest.raises(DataError) as caught:
        everything(loader(Noisy(7, fail), workers=workers))
    assert (caught.value.what, caught.value.where, caught.value.remedy) == ("row 7 is broken", "somewhere", "mend it")


def test_a_fault_of_ours_keeps_its_trace() -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        everything(loader(Noisy(7, lambda: print(1 // 0)), workers=2))
    assert "in collate" in caught.value.__notes__[0]


def test_a_killed_worker_is_told() -> None:
    began = time.monotonic()
    with pytest.raises(DistributedError, match=r"worker .* ended with exit code -9") as caught:
        everything(loader(Noisy(7, lambda: os.kill(os.getpid(), signal.SIGKILL)), workers=2))
    assert time.monotonic() - began < 20
    assert "samples" in caught.value.where


def test_a_worker_that_hangs_is_told() -> None:
    with pytest.raises(DistributedError, match="has returned nothing for 1 seconds"):
        everything(loader(Noisy(7, lambda: os.kill(os.getpid(), signal.SIGSTOP)), workers=2, timeout=1))


def test_workers_end_with_a_killed_parent() -> None:
    """Even one that is busy, and at once."""
    pids = multiprocessing.get_context("fork").Pipe(duplex=False)

    def hang() -> None:
        pids[1].send(os.getpid())
        time.sleep(600)

    parent = multiprocessing.get_context("fork").Process(target=lambda: everything(loader(Noisy(7, hang), workers=2)))
    parent.start()
    assert pids[0].poll(60)
    worker = psutil.Process(pids[0].recv())
    parent.kill()
    end = time.monotonic() + 1
    while is_alive(worker):
        assert time.monotonic() < end
        time.sleep(0.02)


def test_signals_are_the_parents_to_answer() -> None:
    """A TERM to the whole group must not take the workers from a parent that goes on to a safe edge."""
    steps = []
    for step, _ in loader(workers=2):
        if step == 1:
            for child in multiprocessing.active_children():
                for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
                    os.kill(child.pid or 0, number)
        steps.append(step)
    assert steps == list(range(12))


def test_a_loader_that_is_not_read_to_its_end_leaves_nothing() -> None:
    for step, _ in loader(workers=2):
        if step == 2:
            break


def test_children_of_others_keep_their_handler() -> None:
    before = signal.getsignal(signal.SIGCHLD)
    everything(loader(workers=1))
    assert signal.getsignal(signal.SIGCHLD) == before
