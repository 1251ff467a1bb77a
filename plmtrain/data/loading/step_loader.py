"""Batches of every step, made in this process or in worker processes beside it.

What is loaded is a step, a pure function of its number: workers take steps in turn, and their number changes nothing, nor is
there anything to save. A loader starts at any step at once.
"""

from __future__ import annotations

import atexit
import multiprocessing
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.process import BaseProcess
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import DataLoader, Dataset, get_worker_info

from plmtrain.batch import Batch
from plmtrain.data.loading.order import Order, Phase, check_divisible, micro_batches, shard
from plmtrain.data.rows.rows import rows_of, streams_of
from plmtrain.errors import DistributedError
from plmtrain.keyed_random import Keys
from plmtrain.stopping import SIGNALS

if TYPE_CHECKING:
    from plmtrain.data.rows.rows import PartedRows, RowSource
    from plmtrain.programs.program import AnyProgram, Trainable

_POLL = 2  # seconds between two looks at the workers while one is waited for


class StepLoader:
    """The micro-batches that one process takes at each step, from any step to the end of the run.

    Args:
        source_of_phase: the rows that each phase reads.
        program_of_phase: the program, or mixture, of each phase.
        plan: the phases, from ``order.plan``.
        seed: the run's seed.
        rank, world: which of how many processes this is.
        first_step: the first step to load, 0-based.
        workers: processes that load beside this one; 0 to load in it.
        pin_memory: whether batches lie in page-locked memory, for copies that run beside a GPU's computation.
        timeout: seconds that a worker may take for a step before it counts as hung.

    Raises:
        SettingsError: if a batch size cannot be shared equally by the processes.
    """

    def __init__(
        self,
        source_of_phase: Sequence[RowSource | PartedRows],
        program_of_phase: Sequence[Trainable],
        plan: Sequence[Phase],
        *,
        seed: int,
        rank: int = 0,
        world: int = 1,
        first_step: int = 0,
        workers: int = 0,
        pin_memory: bool = False,
        timeout: float = 600.0,
    ) -> None:
        check_divisible(plan, world)
        self._steps = _Steps(source_of_phase, program_of_phase, Order(seed, plan), rank, world)
        self._range = range(first_step, len(self._steps))
        self._workers, self._pin_memory, self._timeout = workers, pin_memory, timeout

    def __len__(self) -> int:
        """Steps that are left."""
        return len(self._range)

    def __iter__(self) -> Iterator[tuple[int, list[Batch]]]:
        """Steps (0-based) with their micro-batches, in order.

        Raises:
            PlmtrainError: whatever a source or program raised, in a worker or here.
            DistributedError: if a worker was killed or hangs.
        """
        iterator, workers = self._start()
        stop = partial(_kill, workers)
        atexit.register(stop)  # earlier than multiprocessing's own hook, which waits for workers after a mere TERM
        try:
            for step in self._range:
                made = self._next(iterator, workers, step)
                if made.error is not None:
                    raise made.error
                yield made.step, made.batches
        finally:
            atexit.unregister(stop)
            stop()

    def _start(self) -> tuple[Iterator[_Made], list[BaseProcess]]:
        """Start the workers, if there are any."""
        many: dict[str, Any] = {}
        if self._workers:
            # A forked worker has everything imported. The time-out lets the wait look after dead and hung workers.
            context = "fork" if sys.platform == "linux" else None
            many = {"multiprocessing_context": context, "worker_init_fn": _ignore_signals, "timeout": _POLL}
        before, handler = multiprocessing.active_children(), signal.getsignal(signal.SIGCHLD)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="This DataLoader will create")  # more workers than cores: as asked
            loader = DataLoader(
                self._steps,
                batch_size=None,
                sampler=self._range,
                num_workers=self._workers,
                collate_fn=_as_it_is,
                pin_memory=self._pin_memory,
                generator=torch.Generator(),  # else torch takes a number from the global generator
                **many,
            )
            iterator = iter(loader)
        if threading.current_thread() is threading.main_thread():
            # Torch would raise in the midst of a step when a worker dies. The wait for the next one notices soon enough.
            signal.signal(signal.SIGCHLD, handler)
        workers = [child for child in multiprocessing.active_children() if child not in before]
        return iterator, sorted(workers, key=lambda worker: worker.pid or 0)

    def _next(self, iterator: Iterator[_Made], workers: Sequence[BaseProcess], step: int) -> _Made:
        patience = time.monotonic() + self._timeout
        while True:
            try:
                return next(iterator)
            except RuntimeError:  # torch's word on workers: errors of theirs come as results
                if not workers:
                    raise
            for worker in workers:
                if not worker.is_alive():
                    raise self._lost(worker, f"ended with exit code {worker.exitcode}", step)
            if time.monotonic() > patience:
                worker = workers[(step - self._range.start) % len(workers)]
                raise self._lost(worker, f"has given nothing for {self._timeout:g} seconds", step)

    def _lost(self, worker: BaseProcess, fate: str, step: int) -> DistributedError:
        samples = self._steps.samples(step).samples
        some = ", ".join(map(str, samples[:8])) + (", ..." if len(samples) > 8 else "")
        return DistributedError(
            f"a data worker (process {worker.pid}) {fate}",
            f"while step {step + 1} was waited for: samples {some}",
            "start the same command again; if memory ran out, use fewer trainer.workers (0 loads in the training process)",
        )


class _Steps(Dataset["_Made"]):
    """What one process takes at each step, by the number of the step."""

    def __init__(
        self, sources: Sequence[RowSource | PartedRows], programs: Sequence[Trainable], order: Order, rank: int, world: int
    ) -> None:
        self._sources, self._programs, self._order, self._rank, self._world = sources, programs, order, rank, world

    def __len__(self) -> int:
        return self._order.steps

    def samples(self, step: int) -> Keys:
        source = self._at(step)[1]
        return shard(self._order.step_samples(step, len(source), streams_of(source)), self._rank, self._world)

    def _at(self, step: int) -> tuple[AnyProgram, RowSource]:
        """Return the program that a step trains, and the rows that it reads."""
        index = self._order.phase_at(step).index
        part = self._programs[index].parts.draw(self._order.seed, step)
        return part.program, rows_of(self._sources[index], part.name)

    def __getitem__(self, step: int) -> _Made:
        phase = self._order.phase_at(step)
        program, source = self._at(step)
        try:
            parts = micro_batches(self.samples(step), phase.micro_batch_size)
            return _Made(step, [program.collate(source.fetch(keys.samples), keys) for keys in parts])
        except Exception as error:
            if get_worker_info() is None:
                raise
            # Torch would make a new error of it, whose message is a traceback.
            error.add_note(f"In a data worker, at step {step}:\n{traceback.format_exc()}")
            return _Made(step, [], error)


@dataclass
class _Made:
    """The micro-batches of a step, or why there are none.

    From worker to parent it goes through a pipe as NumPy arrays: tensors would take a file descriptor each and shared
    memory, of which containers have little.
    """

    step: int
    batches: list[Batch]
    error: Exception | None = None

    def pin_memory(self) -> _Made:
        return _Made(self.step, [batch.pin_memory() for batch in self.batches], self.error)

    def __getstate__(self) -> tuple[Any, ...]:
        return self.step, [batch.map(torch.Tensor.numpy) for batch in self.batches], self.error

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.step, batches, self.error = state
        self.batches = [batch.map(torch.from_numpy) for batch in batches]


def _as_it_is(made: Any) -> Any:
    return made


def _kill(workers: list[BaseProcess]) -> None:
    while workers:
        workers.pop().kill()  # it has nothing to finish, and a hung one answers to nothing else


def _ignore_signals(worker: int) -> None:
    # A signal to the whole group asks the parent to stop at a safe edge, and it needs its workers to get there.
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
