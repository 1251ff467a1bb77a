"""The plan of a run: how many steps it has, where its phases begin, and how far each step is in its schedule.

With a number of steps all of that is given. With a budget of hours (``trainer.hours``) the clock decides it, again and again:
each decision says after how many steps the run will end, and changes nothing before its own step. The schedule and the phases
are laid out once, in the steps of the first plan; what the clock changes is how fast the run passes through them. So the learning
rate has no jumps, every phase keeps its share of the schedule, and both are at their end when the run is.

The steps at which the clock decides follow from the decisions alone, so that a run that repeats some steps after a kill repeats
them with the same decisions.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil

from plmtrain.data.loading.order import Phase, in_turn
from plmtrain.settings.base import MOST

_OF_RUN, _OF_REST = 100, 10
"""The clock decides again after this part of all steps, or after that of those that are left, whichever is sooner."""


@dataclass(frozen=True, kw_only=True)
class Costs:
    """The seconds that the parts of a run take.

    Args:
        step: a step of each phase.
        validation: a validation.
        checkpoint: the saving of a checkpoint.
    """

    step: tuple[float, ...]
    validation: float = 0.0
    checkpoint: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Decision:
    """A decision of the clock, and what it was based on.

    Args:
        step: the steps that were done.
        total_steps: the steps in all, as planned from here on.
        position: how far the run was in its schedule, in the schedule's own steps.
        length: the schedule's own steps: those of the first plan.
        hours: the budget.
        used: the seconds of it that were used.
        costs: what the parts of the run took, as far as it was known.
    """

    step: int
    total_steps: int
    position: float
    length: int
    hours: float
    used: float
    costs: Costs


class Plan:
    """The phases of a run, and the place of each step in the schedule.

    Args:
        schedule: the phases in the schedule's own steps, from ``plan_phases``.
        decisions: those of the clock, in their order; none for a run of a given number of steps, which are those of the schedule.
    """

    def __init__(self, schedule: Sequence[Phase], decisions: Sequence[Decision] = ()) -> None:
        self.schedule = tuple(schedule)
        self.decisions = tuple(decisions)
        self._decided_at = [decision.step for decision in decisions]
        self.phases = self._stretched() if decisions else self.schedule

    @property
    def steps(self) -> int:
        """Steps of the whole run."""
        return self.phases[-1].end

    def known(self, step: int) -> tuple[Phase, ...]:
        """Return the phases as far as they are known before a step: where the clock may move the end of the step's own phase,
        that has no end yet, and none follows. The rows of a step do not depend on such an end."""
        if not self.decisions:
            return self.phases
        *before, present = (phase for phase in self.phases if phase.first_step <= step)
        return (*before, replace(present, steps=MOST, drawn_steps=None))

    @property
    def next_decision(self) -> int | None:
        """The steps that are done when the clock decides next; None if it does not."""
        if not self.decisions:
            return None
        last = self.decisions[-1]
        return last.step + max(1, min(last.total_steps // _OF_RUN, (last.total_steps - last.step) // _OF_REST))

    def position(self, step: int) -> float:
        """Return how far the run is in its schedule before a step, in the schedule's own steps."""
        if not self.decisions:
            return step
        decision = self._in_force(step)
        if step >= decision.total_steps:
            return decision.length
        passed, left = step - decision.step, decision.total_steps - decision.step
        return decision.position + (decision.length - decision.position) * passed / left

    def length(self, step: int) -> int:
        """Return the schedule's own steps in all, as they are at a step."""
        return self._in_force(step).length if self.decisions else self.schedule[-1].end

    def with_decision(self, decision: Decision) -> Plan:
        """Return the plan after a further decision."""
        return Plan(self.schedule, (*self.decisions, decision))

    def _in_force(self, step: int) -> Decision:
        return self.decisions[max(0, bisect_right(self._decided_at, step) - 1)]

    def _stretched(self) -> tuple[Phase, ...]:
        """Return the phases in the steps of the run: each begins with the first step whose position it contains."""
        total = self.decisions[-1].total_steps
        ends = [bisect_left(range(total), float(phase.end), key=self.position) for phase in self.schedule[:-1]] + [total]
        return in_turn(
            replace(phase, steps=end - start, drawn_steps=ceil((end - start) / phase.length_window) * phase.length_window)
            for phase, start, end in zip(self.schedule, [0, *ends], ends, strict=False)
        )
