"""The samples of each step: a closed formula of (seed, step), so that there is no position to save or to seek to.

Samples of one sequence length form one endless order: epoch after epoch, each a keyed permutation of the rows. Phases of equal
length continue the same order. Where rows are consecutive, in streams, a step reads all streams at one time: the streams are
permuted, time is not. Rows of different lengths can be sorted by length within some steps that are drawn together, so that little
of a step is padding. Some sources have an order of their own: rows of several texts in fixed shares
(``plmtrain.data.rows.mixing``), or those of one file after another (``plmtrain.data.shards``). Neither processes, workers nor
micro-batches affect the order; they only divide a step's samples.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plmtrain.data.rows.rows import TrainingSource, order_of, sizes_of, streams_of
from plmtrain.errors import SettingsError
from plmtrain.keyed_random import Keys, permute
from plmtrain.settings.base import MOST
from plmtrain.settings.trainer import PhaseSettings, TrainerSettings


@dataclass(frozen=True, kw_only=True)
class Phase:
    """A part of a run with one shape; what its settings omit is taken from the trainer's.

    Args:
        index: its index, from 0.
        first_step: its first step, 0-based over the whole run.
        steps: how many it has.
        sequence_length: tokens in a row of the model, special ones included.
        batch_size: rows in a step, over all processes and micro-batches.
        micro_batch_size: rows that one process takes at a time; None for all of its share.
        objective: settings of the objective that differ in this phase.
        dropout: whether dropout is on.
        samples_before: rows of this sequence length that earlier phases read.
        fits_memory: whether a micro-batch is to be as large as fits into memory.
        drawn_steps: the steps whose rows are drawn, if these are more than it has: in whole windows, so that what a window holds
            does not depend on where the phase ends. Rows that are drawn in vain are passed over.
        length_window: the steps whose rows are drawn together and sorted by length, if the rows have different lengths.
    """

    index: int
    first_step: int
    steps: int
    sequence_length: int
    batch_size: int
    micro_batch_size: int | None
    samples_before: int
    length_window: int = 1
    objective: Mapping[str, Any] = field(default_factory=dict)
    dropout: bool = True
    fits_memory: bool = False
    drawn_steps: int | None = None

    @property
    def end(self) -> int:
        """The first step after it."""
        return self.first_step + self.steps

    @property
    def drawn_end(self) -> int:
        """The first step after those whose rows are drawn."""
        return self.end if self.drawn_steps is None else self.first_step + self.drawn_steps


def plan_phases(trainer: TrainerSettings) -> tuple[Phase, ...]:
    """Return the phases of a run; one where the settings name none."""
    return in_turn(
        Phase(
            index=index,
            first_step=0,
            steps=steps,
            sequence_length=trainer.length_in(settings),
            batch_size=trainer.batch_in(settings),
            micro_batch_size=trainer.micro_batch_in(settings),
            fits_memory=trainer.fits_memory_in(settings),
            samples_before=0,
            length_window=trainer.length_window,
            objective=settings.objective,
            dropout=settings.dropout,
        )
        for index, (settings, steps) in enumerate(zip(trainer.phases or [PhaseSettings()], trainer.phase_steps, strict=True))
    )


def in_turn(phases: Iterable[Phase]) -> tuple[Phase, ...]:
    """Return phases that follow each other: each begins, and reads on, where those before it end."""
    turns: list[Phase] = []
    first_step, read = 0, defaultdict[int, int](int)
    for phase in phases:
        turn = replace(phase, first_step=first_step, samples_before=read[phase.sequence_length])
        turns.append(turn)
        first_step = turn.end
        read[turn.sequence_length] += (turn.drawn_end - turn.first_step) * turn.batch_size
    return tuple(turns)


def with_steps(trainer: TrainerSettings, rows: int) -> TrainerSettings:
    """Return the trainer's settings once its rows are counted: the steps are computed from the epochs, if those are given.

    An epoch need not end at a step's end: its last step takes the first rows of the next epoch.

    Args:
        trainer: the settings.
        rows: in an epoch.

    Raises:
        SettingsError: if that are more steps than a run can have.
    """
    if trainer.epochs is None:
        return trainer
    steps = max(1, math.ceil(trainer.epochs * rows / trainer.batch_size))
    if steps > MOST:
        where = f"setting: trainer.epochs={trainer.epochs:g}, in batches of {trainer.batch_size} of {rows:,} rows"
        raise SettingsError(f"{steps:,} steps are more than any run needs", where, "lower trainer.epochs")
    return trainer.model_copy(update={"steps": steps})


class Order:
    """The samples of every step.

    Args:
        seed: the run's seed.
        phases: of the run, from ``plan_phases``.
    """

    def __init__(self, seed: int, phases: Sequence[Phase]) -> None:
        self.seed = seed
        self.phases = tuple(phases)
        self._first_steps = [phase.first_step for phase in phases]

    @property
    def steps(self) -> int:
        """Steps of the whole run."""
        return self.phases[-1].end

    def phase_at(self, step: int) -> Phase:
        """Return the phase of a step (0-based)."""
        assert 0 <= step < self.steps, step
        return self.phases[bisect_right(self._first_steps, step) - 1]

    def samples_before(self, step: int) -> int:
        """Return the rows of the step's sequence length that were read before the step."""
        phase = self.phase_at(step)
        return phase.samples_before + (step - phase.first_step) * phase.batch_size

    def tokens_before(self, step: int) -> int:
        """Return the tokens of the model's rows that were read before a step, over all phases."""
        taken = [min(max(step - phase.first_step, 0), phase.steps) for phase in self.phases]
        return sum(steps * phase.batch_size * phase.sequence_length for steps, phase in zip(taken, self.phases, strict=True))

    def samples_of(self, step: int, source: TrainingSource) -> Keys:
        """Return the samples that a step reads from a source, over all processes, in order: by the source's own order, if it has
        one.

        Args:
            step: 0-based.
            source: the rows of the step's phase.
        """
        if (own := order_of(source)) is not None:
            return own.keys(self.seed, self.samples_before(step), self.phase_at(step).batch_size)
        assert isinstance(source, Sized), "a source without an order of its own has epochs"
        return self.step_samples(step, len(source), streams_of(source), sizes_of(source))

    def step_samples(
        self,
        step: int,
        rows_in_epoch: int,
        streams: int | None = None,
        sizes: NDArray[np.int64] | None = None,
    ) -> Keys:
        """Return the samples of a step over all processes, in order.

        Args:
            step: 0-based.
            rows_in_epoch: the number of rows of the step's sequence length.
            streams: how many rows are parallel in time (``StreamSource``), as many as a step has; None where rows are
                independent.
            sizes: [rows in an epoch] the tokens in each row; None where all rows have the same length.

        Returns:
            As many keys as the step has rows; without streams they may belong to several epochs.
        """
        phase = self.phase_at(step)
        if streams is not None:
            assert streams == phase.batch_size, (streams, phase.batch_size)
            return self._read(self._stream_rows_before(step), streams, rows_in_epoch, streams)
        if sizes is None or phase.length_window == 1:
            return self._read(self.samples_before(step), phase.batch_size, rows_in_epoch, rows_in_epoch)
        return self._of_similar_length(step, sizes)

    def _read(self, before: int, count: int, rows_in_epoch: int, width: int) -> Keys:
        """Return the keys of the rows of an endless order that come after the first ``before`` rows.

        Args:
            before: the rows already read.
            count: the rows to read.
            rows_in_epoch: the number of rows that are read once in an epoch.
            width: how many consecutive rows are permuted among one another.
        """
        read = np.arange(before, before + count, dtype=np.int64)
        epochs, positions = np.divmod(read, rows_in_epoch)
        times, places = np.divmod(positions, width)
        samples = times * width
        for epoch in range(int(epochs[0]), int(epochs[-1]) + 1):
            here = epochs == epoch
            samples[here] += permute(places[here], width, "order", self.seed, epoch)
        return Keys(self.seed, epochs, samples)

    def _of_similar_length(self, step: int, sizes: NDArray[np.int64]) -> Keys:
        """Return the samples of a step where those of several steps are drawn together: sorted by length, and cut into as many
        batches, of which each step takes one by key.

        Args:
            step: 0-based.
            sizes: [rows in an epoch] the tokens in each row.
        """
        phase = self.phase_at(step)
        turn = (step - phase.first_step) % phase.length_window
        first = step - turn
        together = min(phase.length_window, phase.drawn_end - first)
        drawn = self._read(self.samples_before(first), together * phase.batch_size, len(sizes), len(sizes))
        by_size = np.argsort(sizes[drawn.samples], kind="stable")
        batch = int(permute(np.array([turn]), together, "length window", self.seed, first)[0])
        taken = by_size[batch * phase.batch_size :][: phase.batch_size]
        return Keys(self.seed, drawn.epochs[taken], drawn.samples[taken])

    def _stream_rows_before(self, step: int) -> int:
        """Return the rows read before a step in phases of its own shape: streams of another batch size are other streams."""
        own = self.phase_at(step)
        alike = [
            phase.steps
            for phase in self.phases[: own.index]
            if (phase.sequence_length, phase.batch_size) == (own.sequence_length, own.batch_size)
        ]
        return (sum(alike) + step - own.first_step) * own.batch_size


def check_divisible(phases: Sequence[Phase], world: int) -> None:
    """Refuse a batch that cannot be divided equally.

    Raises:
        SettingsError: if a phase's batch size is not a multiple of the number of processes.
    """
    for phase in phases:
        size = phase.batch_size
        if size % world:
            down, up = size // world * world, (size // world + 1) * world
            raise SettingsError(
                f"a batch of {size} sequences cannot be shared equally by {world} processes",
                f"trainer.batch_size={size}" if len(phases) == 1 else f"trainer.phases[{phase.index}], batch_size {size}",
                f"use a multiple of {world}, such as {f'{down} or {up}' if down else up}, or another launch.processes",
            )


def shard(keys: Keys, rank: int, world: int) -> Keys:
    """Return the part of a step's samples that one process takes: contiguous, and as large as the others'."""
    assert len(keys) % world == 0, (len(keys), world)
    share = len(keys) // world
    return _cut(keys, rank * share, share)


def micro_batches(keys: Keys, size: int | None) -> Iterator[Keys]:
    """Yield a process's samples in micro-batches, in order; the last one may be smaller."""
    size = size or len(keys)
    for first in range(0, len(keys), size):
        yield _cut(keys, first, size)


def _cut(keys: Keys, first: int, count: int) -> Keys:
    part = slice(first, first + count)
    return Keys(keys.seed, keys.epochs[part], keys.samples[part])
