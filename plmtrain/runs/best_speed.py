"""The speed that a run would have if this machine computed nothing but its matrix products: what its real speed is a share of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from plmtrain.data.loading.order import Phase
from plmtrain.data.rows.rows import PartedRows, RowSource, rows_of
from plmtrain.keyed_random import Keys
from plmtrain.programs.flops import BACKWARD
from plmtrain.programs.learner import Learner
from plmtrain.programs.program import Trainable
from plmtrain.runs.step_shapes import in_flops_per_second
from plmtrain.settings.run import RunSettings
from plmtrain.training.group import Group
from plmtrain.training.machine import rate_before_run
from plmtrain.training.precision import Precision


@dataclass(frozen=True)
class BestSpeed:
    """The speed of matrix products alone.

    Args:
        flops_per_second: of a process.
        tokens_per_second: of all processes together.
    """

    flops_per_second: float
    tokens_per_second: float

    def __str__(self) -> str:
        rate = in_flops_per_second(self.flops_per_second)
        most = f"{self.tokens_per_second:,.0f} tokens/s"
        return f"matrix products of these shapes reach {rate} here, and with these alone a run would reach {most}"


def best_speed(
    settings: RunSettings,
    learner: Learner,
    phases: Sequence[Phase],
    programs: Sequence[Trainable],
    rows: Sequence[RowSource | PartedRows],
    precision: Precision,
    group: Group,
) -> BestSpeed | None:
    """Measure the best speed of the longest phase of a run, in about a tenth of a second, while all its processes do.

    Args:
        settings: the run's.
        learner: on the device.
        phases, programs, rows: one of each for every phase.
        precision: of matrix products.
        group: the processes that train together.

    Returns:
        None if the FLOPs of a step have no closed form: of some objectives, with a teacher, and where weights are frozen.
    """
    longest = max(phases, key=lambda phase: phase.steps)
    part = programs[longest.index].parts.main
    first = np.zeros(1, np.int64)
    batch = part.program.collate(rows_of(rows[longest.index], part.name).fetch(first), Keys(settings.seed, first, first))
    forward = part.program.flops(batch, part.learner(learner).backbone.vocabulary_size)
    if forward is None or settings.trainer.freeze:
        return None
    share = longest.batch_size // group.size
    positions = min(share, longest.micro_batch_size or share) * longest.sequence_length
    rate = rate_before_run(settings.model, learner.backbone.width, positions, precision, group.device)
    return BestSpeed(rate, group.size * rate * longest.sequence_length / ((1 + BACKWARD) * forward))
