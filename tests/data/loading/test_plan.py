"""A plan that the clock changes again and again, against a walk through its steps."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plmtrain.data.loading.order import Order, plan_phases
from plmtrain.data.loading.plan import Costs, Decision, Plan
from plmtrain.settings.trainer import PhaseSettings, TrainerSettings

COSTS = Costs(step=(1.0,))


def decision(step: int, total: int, position: float, length: int) -> Decision:
    return Decision(step=step, total_steps=total, position=position, length=length, hours=1.0, used=0.0, costs=COSTS)


def shares(*given: float, window: int = 1) -> TrainerSettings:
    """A trainer whose phases have these shares of its steps, and other rows each."""
    phases = tuple(
        PhaseSettings(share=share, sequence_length=16 * (1 + index % 2), batch_size=3 + index)
        for index, share in enumerate(given)
    )
    return TrainerSettings(hours=1.0, phases=phases, length_window=window)


def planned(trainer: TrainerSettings, length: int, changes: list[tuple[int, int]]) -> list[Plan]:
    """The plans of a run: the first one, and one after each change, of steps that are done and steps that follow."""
    schedule = plan_phases(trainer.model_copy(update={"steps": length}))
    plans = [Plan(schedule, [decision(0, length, 0.0, length)])]
    for ahead, left in changes:
        done = plans[-1].decisions[-1].step + ahead
        if done >= plans[-1].steps:
            break
        plans.append(plans[-1].with_decision(decision(done, done + left, plans[-1].position(done), length)))
    return plans


CHANGES = st.lists(st.tuples(st.integers(1, 20), st.integers(1, 60)), max_size=4)
SHARES = st.sampled_from([(), (0.5, 0.5), (0.9, 0.1), (0.2, 0.3, 0.5)])


@settings(max_examples=30)
@given(SHARES, st.integers(1, 8), st.integers(20, 90), CHANGES)
def test_a_later_decision_changes_nothing_before_it(
    given_shares: tuple[float, ...], window: int, length: int, changes: list[tuple[int, int]]
) -> None:
    plans = planned(shares(*given_shares, window=window), length, changes)
    for before, after in itertools.pairwise(plans):
        done = after.decisions[-1].step
        orders = [Order(7, plan.known(done - 1)) for plan in (before, after)]
        assert [before.position(step) for step in range(done)] == [after.position(step) for step in range(done)]
        for step in range(max(0, done - 3), done):
            first, second = (order.step_samples(step, 13, sizes=np.arange(13)) for order in orders)
            assert (first.epochs.tolist(), first.samples.tolist()) == (second.epochs.tolist(), second.samples.tolist())
            assert orders[0].phase_at(step).index == orders[1].phase_at(step).index


@settings(max_examples=30)
@given(SHARES, st.integers(20, 90), CHANGES)
def test_the_schedule_goes_on_without_a_jump_and_ends_with_the_run(
    given_shares: tuple[float, ...], length: int, changes: list[tuple[int, int]]
) -> None:
    trainer = shares(*given_shares)
    plan = planned(trainer, length, changes)[-1]
    places = [plan.position(step) for step in range(plan.steps + 1)]
    steps = [after - before for before, after in itertools.pairwise(places)]
    assert all(step > 0 for step in steps)
    assert (places[0], places[-1]) == (0, length)
    # From one decision to the next every step is as long as the others, and the next begins where they end.
    turns = sorted({0, plan.steps, *(each.step for each in plan.decisions if each.step < plan.steps)})
    for start, end in itertools.pairwise(turns):
        assert steps[start:end] == pytest.approx([(places[end] - places[start]) / (end - start)] * (end - start))
    # A phase has the steps in its part of the schedule, and reads on where the last one of its length has ended.
    ends = [phase.end for phase in plan_phases(trainer.model_copy(update={"steps": length}))]
    order, read = Order(1, plan.phases), Counter[int]()
    for step in range(plan.steps):
        phase = order.phase_at(step)
        assert phase.index == sum(place <= places[step] for place in ends)
        assert order.samples_before(step) == read[phase.sequence_length]
        read[phase.sequence_length] += phase.batch_size


def test_without_a_change_it_is_the_plan_of_as_many_steps() -> None:
    trainer = shares(0.7, 0.3)
    (plan,) = planned(trainer, 90, [])
    fixed = Plan(plan_phases(TrainerSettings(steps=90, phases=trainer.phases)))
    assert (plan.steps, [plan.position(step) for step in range(91)]) == (90, [*map(float, range(91))])
    assert [(phase.first_step, phase.steps) for phase in plan.phases] == [(0, 63), (63, 27)]
    assert [fixed.position(step) for step in (0, 63, 90)] == [0, 63, 90]
    assert (fixed.next_decision, fixed.known(5), fixed.length(5)) == (None, fixed.schedule, 90)


def test_a_run_whose_time_is_over_ends_at_once() -> None:
    plan = planned(shares(0.5, 0.5), 20, [(4, 0)])[-1]
    assert (plan.steps, [phase.steps for phase in plan.phases], plan.position(3)) == (4, [4, 0], 3.0)


def test_the_clock_decides_sooner_towards_the_end() -> None:
    def after(step: int, total: int) -> int | None:
        return Plan(plan_phases(TrainerSettings(steps=total)), [decision(step, total, 0.0, total)]).next_decision

    assert [after(0, 5000), after(4000, 5000), after(4900, 5000), after(4995, 5000), after(0, 5)] == [50, 4050, 4910, 4996, 1]
