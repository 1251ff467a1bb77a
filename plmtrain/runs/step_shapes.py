"""The shapes of a run's steps: each phase, and each objective of a mixture, has its own number and length of rows."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from plmtrain.data.loading.order import Phase
from plmtrain.data.rows.mixed_rows import HeldOut, RowsBySource
from plmtrain.data.rows.rows import RowSource, rows_of
from plmtrain.programs.learner import Learner
from plmtrain.programs.parts import Part
from plmtrain.programs.program import Trainable
from plmtrain.settings.trainer import TrainerSettings
from plmtrain.training.costs import Measured, Work, answering_seconds
from plmtrain.training.group import Group
from plmtrain.training.precision import Precision

_DRAWN_STEPS = 10_000
"""The number of steps from which the shares of a mixture's parts are estimated."""

FORWARD_SHARE = 1 / 3
"""The forward pass's share of a step, which is what a validation does for its loss: the backward pass takes twice as long."""


@dataclass(frozen=True)
class StepShape:
    """The size of a step of a phase for one process.

    Args:
        phase: the phase.
        share: the rows of one process.
        micro: the rows of a micro-batch.
        work: the costs of rows.
    """

    phase: Phase
    share: int
    micro: int
    work: Work

    @property
    def flops(self) -> int:
        """The FLOPs of a step, over all processes."""
        turns = math.ceil(self.share / self.micro) * (self.phase.batch_size // self.share)
        return turns * self.work.flops[0] + self.phase.batch_size * self.work.flops[1]

    def seconds(self, measured: Measured) -> float:
        """Return the seconds of a step."""
        return measured.seconds * self.share / measured.rows


def divide_by_part(
    phases: Sequence[Phase], programs: Sequence[Trainable], seed: int
) -> tuple[tuple[Phase, ...], list[tuple[Trainable, Part]]]:
    """Divide the phases of a mixture into one phase for each part, with as many steps as the part is drawn."""
    divided: list[tuple[Phase, tuple[Trainable, Part]]] = []
    for phase, program in zip(phases, programs, strict=True):
        sampled = max(1, min(phase.steps, _DRAWN_STEPS))
        parts = program.parts
        drawn = Counter(parts.draw(seed, phase.first_step + step).name for step in range(sampled))
        counted_steps = done = 0
        for part in parts.members:
            counted_steps += drawn[part.name]
            steps = round(phase.steps * counted_steps / sampled) - done
            if steps:
                first = phase.first_step + done
                shorter = replace(phase, index=len(divided), first_step=first, steps=steps)
                divided.append((shorter, (program, part)))
                done += steps
    return tuple(phase for phase, _ in divided), [both for _, both in divided]


def validation_batches(
    held_out: HeldOut, program: Trainable, phase: Phase, trainer: TrainerSettings
) -> list[tuple[Part, RowSource, int]]:
    """Return the held-out rows of each part, and the number of batches of them that a validation reads.

    Args:
        held_out: the held-out rows.
        program: the program of the last phase.
        phase: the last phase.
        trainer: the settings.
    """
    most = trainer.evaluate_batches or 2**62
    texts = list(held_out.sources.values()) if isinstance(held_out, RowsBySource) else [held_out]
    each = [(part, rows_of(text, part.name)) for part in program.parts.members for text in texts]
    return [(part, rows, min(math.ceil(len(rows) / phase.batch_size), most)) for part, rows in each]


def seconds_of_answers(
    batches: Sequence[tuple[Part, RowSource, int]],
    learner: Learner,
    phase: Phase,
    group: Group,
    precision: Precision,
    *,
    processes: int,
    patience: float,
) -> float:
    """Return the seconds in which a validation answers its rows, such as by generating texts: measures that are not sums need all
    answers.

    Args:
        batches: from ``validation_batches``.
        learner: with whole weights, on the group's device.
        phase: the last phase.
        group: of the process that measures.
        precision: the precision of matrix products.
        processes: how many divide a batch.
        patience: the most seconds to measure of each part.
    """
    total, share = 0.0, phase.batch_size // processes
    at_once = min(share, phase.micro_batch_size or share)
    for part, rows, count in batches:
        answering = part.program.answering
        if answering is not None and answering.scored:
            taken = answering_seconds(answering, part.learner(learner), rows, at_once, group.device, precision, patience)
            total += count * taken * share / at_once
    return total


def in_flops_per_second(rate: float) -> str:
    """Return a rate of FLOPs in words."""
    return in_flops(rate) + "S"


def in_flops(count: float) -> str:
    """Return a number of FLOPs in words."""
    for unit in ("", "k", "M", "G", "T", "P", "E"):
        if count < 1000:
            return f"{count:.3g} {unit}FLOP"
        count /= 1000
    return f"{count:.3g} ZFLOP"
