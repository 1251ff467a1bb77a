"""Batches of every step, made in this process or in worker processes.

The unit of loading is a step, a pure function of its number: workers take steps in turn, their number changes nothing, and there
is no state to save. A loader can start at any step.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.process import BaseProcess
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import DataLoader, Dataset, get_worker_info

from plmtrain import child_processes
from plmtrain.batch import Batch
from plmtrain.data.loading.order import Order, Phase, check_divisible, micro_batches, shard
from plmtrain.data.rows.rows import PassingSource, rows_of
from plmtrain.errors import DistributedError
from plmtrain.keyed_random import Keys

if TYPE_CHECKING:
    from plmtrain.data.rows.rows import PartedRows, TrainingSource
    from plmtrain.programs.program import AnyProgram, Trainable

_POLL = 2  # seconds between checks of the workers while a step is awaited


class StepLoader:
    """The micro-batches that one process takes at each step, from any step to the end of the run.

    Args:
        source_of_phase: the rows that each phase reads.
        program_of_phase: the program, or mixture, of each phase.
        plan: the phases, from ``order.plan_phases``.
        seed: the run's seed.
        rank, world: the index of this process, and how many there are.
        first_step: the first step to load, 0-based.
        workers: processes that load; with 0 this one does.
        pin_memory: whether batches are in page-locked memory, for copies in parallel with a GPU's computation.
        timeout: seconds that a worker may take for a step before it counts as hung.

    Raises:
        SettingsError: if a batch size cannot be divided equally by the processes.
    """

    def __init__(
        self,
        source_of_phase: Sequence[TrainingSource | PartedRows],
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
        """Return the number of remaining steps."""
        return len(self._range)

    def __iter__(self) -> Generator[tuple[int, list[Batch]]]:
        """Yield steps (0-based) with their micro-batches, in order.

        Raises:
            PlmtrainError: whatever a source or program raised, in a worker or here.
            DistributedError: if a worker was killed or hangs.
        """
        iterator, workers = self._start()
        stop = partial(_kill, workers)
        atexit.register(stop)  # before multiprocessing's own hook, which only sends TERM to workers and waits for them
        try:
            for step in self._range:
                self._steps.reach(step)
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
            # A forked worker has everything imported. The time-out lets the loop check for dead and hung workers.
            context = "fork" if sys.platform == "linux" else None
            many = {"multiprocessing_context": context, "worker_init_fn": partial(_serve, os.getpid()), "timeout": _POLL}
        before, handler = multiprocessing.active_children(), signal.getsignal(signal.SIGCHLD)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="This DataLoader will create")  # more workers than cores, as requested
            loader = DataLoader(
                self._steps,
                batch_size=None,
                sampler=self._range,
                num_workers=self._workers,
                collate_fn=_as_it_is,
                pin_memory=self._pin_memory,
                generator=torch.Generator(),  # otherwise torch draws from the global generator
                **many,
            )
            iterator = iter(loader)
        if threading.current_thread() is threading.main_thread():
            # Torch would raise in the middle of a step when a worker dies. The wait for the next step notices it soon enough.
            signal.signal(signal.SIGCHLD, handler)
        workers = [child for child in multiprocessing.active_children() if child not in before]
        return iterator, sorted(workers, key=lambda worker: worker.pid or 0)

    def _next(self, iterator: Iterator[_Made], workers: Sequence[BaseProcess], step: int) -> _Made:
        patience = time.monotonic() + self._timeout
        while True:
            try:
                return next(iterator)
            except RuntimeError:  # torch's error about workers; the workers' own errors come as results
                if not workers:
                    raise
            for worker in workers:
                if not worker.is_alive():
                    raise self._lost(worker, f"ended with exit code {worker.exitcode}", step)
            if time.monotonic() > patience:
                worker = workers[(step - self._range.start) % len(workers)]
                raise self._lost(worker, f"has returned nothing for {self._timeout:g} seconds", step)

    def _lost(self, worker: BaseProcess, problem: str, step: int) -> DistributedError:
        samples = self._steps.samples(step).samples
        listed = ", ".join(map(str, samples[:8])) + (", ..." if len(samples) > 8 else "")
        return DistributedError(
            f"a data worker (process {worker.pid}) {problem}",
            f"while step {step + 1} was awaited: samples {listed}",
            "start the same command again; if memory ran out, use fewer trainer.workers (0 loads in the training process)",
        )


class _Steps(Dataset["_Made"]):
    """The micro-batches of one process, by step."""

    def __init__(
        self, sources: Sequence[TrainingSource | PartedRows], programs: Sequence[Trainable], order: Order, rank: int, world: int
    ) -> None:
        self._sources, self._programs, self._order, self._rank, self._world = sources, programs, order, rank, world

    def __len__(self) -> int:
        return self._order.steps

    def samples(self, step: int) -> Keys:
        return shard(self._order.samples_of(step, self._at(step)[1]), self._rank, self._world)

    def reach(self, step: int) -> None:
        """Tell the step's source that all earlier steps were taken."""
        source = self._at(step)[1]
        if isinstance(source, PassingSource):
            source.reach(self._order.samples_before(step), self._order.phase_at(step).batch_size)

    def _at(self, step: int) -> tuple[AnyProgram, TrainingSource]:
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
            # Torch would turn it into another error, whose message is a traceback.
            error.add_note(f"In a data worker, at step {step}:\n{traceback.format_exc()}")
            return _Made(step, [], error)


@dataclass
class _Made:
    """The micro-batches of a step, or why there are none.

    Workers send it to the parent through a pipe as NumPy arrays: tensors would need a file descriptor each and shared memory,
    which containers have little of.
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
        workers.pop().kill()  # it has nothing to finish, and a hung one reacts to no other signal


def _serve(parent: int, worker: int) -> None:
    # A signal to the whole group asks the parent to stop at a safe point, and until then it needs its workers.
    child_processes.serve(parent)
