"""A budget of wall-clock time (``trainer.hours``): how many steps it holds.

The estimate is plain: what is left of the budget, divided by what steps, validations and checkpoints took of late. Phases to come
were measured once before the run, and are scaled by how much faster or slower the present one turned out to be.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import asdict

from plmtrain.data.loading.order import Phase
from plmtrain.data.loading.plan import Costs, Decision, Plan
from plmtrain.json_files import as_record
from plmtrain.settings.base import MOST
from plmtrain.settings.trainer import TrainerSettings
from plmtrain.training.clock import CHECKPOINT, VALIDATION, Clock
from plmtrain.training.decision_log import DecisionLog
from plmtrain.training.group import Group

SECONDS = 3600
"""Of an hour."""
LATELY = 0.05
"""The share of the budget over which the speed is measured: the clock adapts within as much of it."""
_CLOSE = 0.01
"""The plan stays as it is where the estimate of the remaining steps differs by less: it would move back and forth otherwise."""


def decided(
    plan: Plan, done: int, phase: int, trainer: TrainerSettings, clock: Clock, log: DecisionLog | None, group: Group
) -> Plan:
    """Return the plan after the next decision, which the main process makes and records. All processes must call it.

    Args:
        plan: the plan so far.
        done: the steps that are done.
        phase: the present phase.
        trainer: the settings.
        clock: that of this process.
        log: the record of decisions; None except in the main process.
        group: the processes that train together.
    """
    made = []
    if log is not None:
        costs = costs_now(plan.decisions[-1].costs, clock, phase)
        made = [next_decision(plan, done, costs, trainer, clock.used)]
        log.append(made[0])
    return plan.with_decision(from_main(made, group)[0])


def from_main(decisions: Sequence[Decision], group: Group) -> tuple[Decision, ...]:
    """Return the decisions of the main process in every process. All must call it, the others without any."""
    return tuple(as_record(values, Decision) for values in group.gather_json([asdict(decision) for decision in decisions]))


def first_decision(schedule: Sequence[Phase], costs: Costs, trainer: TrainerSettings, used: float) -> Decision:
    """Return the plan of a run that begins: its schedule has as many steps as the budget holds, but at least one.

    Args:
        schedule: the phases, of which the proportions of steps count.
        costs: of the run's parts, as measured before.
        trainer: the settings.
        used: the seconds of the budget that were used before the first step.
    """
    assert trainer.hours is not None
    steps = max(1, steps_that_fit(schedule, 0.0, 0, SECONDS * trainer.hours - used, costs, trainer))
    return Decision(step=0, total_steps=steps, position=0.0, length=steps, hours=trainer.hours, used=used, costs=costs)


def next_decision(plan: Plan, done: int, costs: Costs, trainer: TrainerSettings, used: float) -> Decision:
    """Return the plan of the rest of a run; the steps in all stay as they were if they are about right.

    If nothing is left of the budget, the run ends here.

    Args:
        plan: the plan so far.
        done: the steps that are done.
        costs: of the run's parts, as they are now.
        trainer: the settings.
        used: the seconds of the budget that are used.
    """
    assert trainer.hours is not None
    last, position = plan.decisions[-1], plan.position(done)
    length = last.length
    if last.hours != trainer.hours:  # what was done is a smaller part of a larger budget
        length = max(1, round(min(float(MOST), length * trainer.hours / last.hours)))
        position = min(position, float(length))
    left = SECONDS * trainer.hours - used
    steps = done + steps_that_fit(plan.schedule, position, done, left, costs, trainer)
    close = last.hours == trainer.hours and abs(steps - plan.steps) <= _CLOSE * (plan.steps - done)
    return Decision(
        step=done,
        total_steps=plan.steps if close else steps,
        position=position,
        length=length,
        hours=trainer.hours,
        used=used,
        costs=costs,
    )


def steps_that_fit(
    schedule: Sequence[Phase], position: float, done: int, left: float, costs: Costs, trainer: TrainerSettings
) -> int:
    """Return the most further steps that end in time, with the validations and checkpoints among them.

    Args:
        schedule: the phases in the schedule's steps: what is left of each counts as its share of the further steps.
        position: how far the run is in the schedule.
        done: the steps that are done.
        left: the seconds that are left.
        costs: of the run's parts.
        trainer: the settings: how often the run validates and saves.
    """
    shares = [max(0.0, phase.end - max(position, phase.first_step)) for phase in schedule]
    shares = shares if any(shares) else [0.0] * (len(schedule) - 1) + [1.0]
    step = sum(share * seconds for share, seconds in zip(shares, costs.step, strict=True)) / sum(shares)

    def seconds(steps: int) -> float:
        end = done + steps
        validations, checkpoints = (_times(done, end, every) for every in (trainer.evaluate_every, trainer.save_every))
        return steps * step + validations * costs.validation + checkpoints * costs.checkpoint

    return bisect_right(range(1, MOST - done), left, key=seconds)


def _times(done: int, end: int, every: int) -> int:
    """Return how often something takes place that does so at regular steps and at the last one, from now on."""
    return (end - 1) // every - max(0, done - 1) // every + 1


def costs_now(before: Costs, clock: Clock, phase: int) -> Costs:
    """Return the costs of a run's parts as the clock measured them.

    Args:
        before: the costs as they were estimated before.
        clock: the run's.
        phase: the present one: steps of others are so much faster or slower, too, as far as they were not measured themselves.
    """
    present = clock.step_seconds(phase)
    scale = 1.0 if present is None or not before.step[phase] else present / before.step[phase]
    measured = [clock.step_seconds(index) for index in range(len(before.step))]
    validation, checkpoint = clock.pause_seconds(VALIDATION), clock.pause_seconds(CHECKPOINT)
    return Costs(
        step=tuple(scale * old if new is None else new for old, new in zip(before.step, measured, strict=True)),
        validation=before.validation if validation is None else validation,
        checkpoint=before.checkpoint if checkpoint is None else checkpoint,
    )
