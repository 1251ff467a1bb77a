"""The plan that a run begins or goes on with: of its number of steps, or of the steps that its budget of hours holds.

Before a run with ``trainer.hours`` begins, some steps of each phase are taken and measured, with all that a real step does, but
at a learning rate of 0. The clock of the budget runs meanwhile. A run that goes on finds the decisions that were recorded.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn

from plmtrain.console import counted, duration
from plmtrain.data.loading.order import Phase, plan_phases
from plmtrain.data.loading.plan import Costs, Decision, Plan
from plmtrain.data.rows.mixed_rows import HeldOut
from plmtrain.data.rows.rows import PartedRows, RowSource, rows_of
from plmtrain.errors import SettingsError, SettingsErrors
from plmtrain.programs.learner import Learner
from plmtrain.programs.program import Trainable
from plmtrain.runs.step_shapes import FORWARD_SHARE, divide_by_part, seconds_of_answers, validation_batches
from plmtrain.settings.rules import broken_rules
from plmtrain.settings.run import RunSettings
from plmtrain.settings.trainer import TrainerSettings
from plmtrain.training.budget import SECONDS, first_decision, from_main, next_decision
from plmtrain.training.costs import measure
from plmtrain.training.decision_log import DecisionLog, recorded
from plmtrain.training.group import Group
from plmtrain.training.precision import Precision
from plmtrain.training.progress import Progress

_ENOUGH = 0.5
"""Seconds of measured steps that are enough, if these are short."""
_PATIENCE = 5.0
"""The most seconds to measure the answers of a validation."""
_FEW, _MANY = 2, 50
"""The steps that are measured of a phase, at least and at most."""


@dataclass(frozen=True)
class Measurable:
    """The parts of a run that its steps are measured with.

    Args:
        module: the wrapped ``Step``.
        learner: the learner within it.
        phases, programs, rows: one of each for every phase.
        held_out: the rows of a validation.
        precision: of matrix products.
        group: the processes that train together, all of which must measure.
    """

    module: nn.Module
    learner: Learner
    phases: Sequence[Phase]
    programs: Sequence[Trainable]
    rows: Sequence[RowSource | PartedRows]
    held_out: HeldOut
    precision: Precision
    group: Group

    def costs(self, settings: RunSettings) -> Costs:
        """Take some steps of each phase. They change no weight, and say nothing of how the training would go."""
        optimizer = settings.optimizer.model_copy(update={"lr": 0.0})
        trainer = settings.trainer.model_copy(update={"on_nonfinite": "skip"})
        still = settings.model_copy(update={"optimizer": optimizer, "trainer": trainer})
        steps = [
            self._seconds(phase, program, rows, still)
            for phase, program, rows in zip(self.phases, self.programs, self.rows, strict=True)
        ]
        last = self.phases[-1]
        batches = validation_batches(self.held_out, self.programs[-1], last, settings.trainer)
        with torch.no_grad(), self.group.gathered(self.module):
            answering = seconds_of_answers(
                batches, self.learner, last, self.group, self.precision, processes=self.group.size, patience=_PATIENCE
            )
        validation = sum(count for _, _, count in batches) * FORWARD_SHARE * steps[-1] + answering
        return Costs(step=tuple(steps), validation=validation)

    def _seconds(self, phase: Phase, program: Trainable, rows: RowSource | PartedRows, settings: RunSettings) -> float:
        """Return the mean seconds of a step of a phase; of a mixture, by the shares of its parts."""
        total = 0.0
        phase = replace(phase, first_step=0, steps=SECONDS)  # enough to draw the parts of a mixture as often as they are wanted
        for shorter, (_, part) in zip(*divide_by_part([phase], [program], settings.seed), strict=True):
            seconds, steps = math.inf, _FEW
            while steps:
                measured = measure(
                    self.module, part, rows_of(rows, part.name), shorter, settings, self.precision, self.group, steps
                )
                seconds = min(seconds, self.group.gather_json([measured.seconds])[0])
                more = min(_MANY, int(_ENOUGH / seconds))
                steps = more if steps == _FEW < more else 0
            total += seconds * shorter.steps
        return total / phase.steps


def plan_of(
    settings: RunSettings, progress: Progress, measurable: Measurable, log: DecisionLog
) -> tuple[Plan, Progress, RunSettings]:
    """Return the plan of a run, its progress with the time that was used to make it, and its settings with the steps of its
    schedule. All processes must call it.

    Args:
        settings: the run's settings.
        progress: the progress of the checkpoint that the run goes on from.
        measurable: what steps are measured with, where nothing is known of them yet.
        log: the record of decisions, which the main process writes.

    Raises:
        SettingsError: if the budget is too short, or the run began without it or with another one that cannot be changed.
        CheckpointError: if the record is damaged.
    """
    hours = settings.trainer.hours
    _require_same_kind(progress, hours)
    if hours is None:
        return Plan(measurable.phases), progress, settings
    began, group = time.perf_counter(), measurable.group
    # In every process, so that all of them fail if it is damaged; the main one's is what counts.
    logged = log.read(len(measurable.phases))
    decisions = from_main(recorded(progress.decisions, logged) if group.is_main else (), group)
    if decisions and decisions[-1].hours != hours:
        decisions = _decided_anew(decisions, progress, measurable, settings.trainer)
    if not decisions:
        costs = measurable.costs(settings)
        used = time.perf_counter() - began
        decisions = from_main(
            [first_decision(_drawn_up(measurable.phases, settings.trainer), costs, settings.trainer, used)]
            if group.is_main
            else (),
            group,
        )
        progress = replace(progress, used_seconds=used)
    schedule = _drawn_up(measurable.phases, settings.trainer, decisions[-1])
    _require_room(settings, schedule, decisions[-1])
    if group.is_main:
        log.replace(decisions)
    counted_out = settings.model_copy(update={"trainer": _planned(settings.trainer, decisions[-1].length)})
    return Plan(schedule, decisions), progress, counted_out


def _planned(settings: TrainerSettings, steps: int) -> TrainerSettings:
    """Return the trainer's settings with the steps of its schedule."""
    return settings.model_copy(update={"steps": steps})


def in_words(plan: Plan, used: float) -> Iterator[str]:
    """Yield the line that says how long a run with a budget of hours will take; nothing for other runs.

    Args:
        plan: of the run.
        used: the seconds of the budget that are used.
    """
    if not plan.decisions:
        return
    last = plan.decisions[-1]
    left = max(0.0, SECONDS * last.hours - used)
    until = time.strftime("%H:%M" if left < 12 * SECONDS else "%a %H:%M", time.localtime(time.time() + left))
    speeds = " then ".join(dict.fromkeys(f"{seconds:.3g}" for seconds in last.costs.step))
    yield (
        f"trainer.hours={last.hours:g}: about {counted(plan.steps, 'step')} of {speeds} s; {duration(left)} left, "
        f"until about {until}"
    )


def _drawn_up(phases: Sequence[Phase], trainer: TrainerSettings, decision: Decision | None = None) -> tuple[Phase, ...]:
    """Return the phases in the steps of their schedule; in many, if it is not decided yet how many there are."""
    steps = 10**6 if decision is None else decision.length
    scheduled = plan_phases(_planned(trainer, steps))
    return tuple(
        replace(phase, micro_batch_size=chosen.micro_batch_size) for phase, chosen in zip(scheduled, phases, strict=True)
    )


def _decided_anew(
    decisions: tuple[Decision, ...], progress: Progress, measurable: Measurable, trainer: TrainerSettings
) -> tuple[Decision, ...]:
    """Return the decisions of a run whose budget was changed: those up to its checkpoint, and one for the new budget."""
    if progress.step == 0:
        return ()
    if len(measurable.phases) > 1:
        raise SettingsError(
            f"the phases of the run were laid out in {decisions[-1].hours:g} hours: another budget would lay them out anew",
            f"trainer.hours={trainer.hours:g}",
            "start another run with another name=",
        )
    kept = tuple(decision for decision in decisions if decision.step <= progress.step)
    plan = Plan(_drawn_up(measurable.phases, trainer, kept[-1]), kept)
    return (*kept, next_decision(plan, progress.step, kept[-1].costs, trainer, progress.used_seconds))


def _require_same_kind(progress: Progress, hours: float | None) -> None:
    """Refuse to go on by the clock with what was begun by a number of steps, or the other way round.

    Raises:
        SettingsError: if that is asked for.
    """
    if progress.step and bool(progress.decisions) != (hours is not None):
        began, now = ("with", "without") if progress.decisions else ("without", "with")
        raise SettingsError(
            f"the run began {began} a budget of hours, and would go on {now} one",
            "trainer.hours" if hours is None else f"trainer.hours={hours:g}",
            "undo the change, or start another run with another name=",
        )


def _require_room(settings: RunSettings, schedule: Sequence[Phase], decision: Decision) -> None:
    """Refuse a budget in which the phases, the warm-up or the final decay have no room.

    Raises:
        SettingsErrors: for each of them.
    """
    held = f"trainer.hours={decision.hours:g} holds about {counted(decision.length, 'step')}"
    trainer = _planned(settings.trainer, decision.length).model_copy(update={"hours": None})
    broken = broken_rules({"schedule": settings.schedule, "trainer": trainer})
    errors = [
        SettingsError(what, f"{key}; {held}", remedy.replace("trainer.steps", "trainer.hours")) for key, what, remedy in broken
    ]
    if any(phase.steps < 1 for phase in schedule):
        errors.append(SettingsError("a phase would have no step", held, "raise trainer.hours, or omit trainer.phases"))
    if errors:
        raise SettingsErrors(errors)
