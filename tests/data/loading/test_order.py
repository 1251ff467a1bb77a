"""The closed-form order against a simulation that walks through every step of a run."""

from __future__ import annotations

import itertools
import time
from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from plmtrain.data.loading.order import Order, check_divisible, micro_batches, plan_phases, shard
from plmtrain.errors import SettingsError
from plmtrain.keyed_random import Keys, permute
from plmtrain.settings.trainer import PhaseSettings, TrainerSettings


def run(*phases: dict[str, int], **trainer: int) -> TrainerSettings:
    stretches = tuple(PhaseSettings(**phase) for phase in phases)
    return TrainerSettings(phases=stretches, **{"steps": sum(stretch.steps for stretch in stretches), **trainer})


def test_a_phase_by_tokens_has_as_many_in_rows_of_its_own_length() -> None:
    halves = ({"steps": 5, "sequence_length": 16, "token_factor": 1}, {"steps": 5})
    for length in (16, 48, 64, 128, 512):
        for batch in (1, 3, 32, 50):
            first, second = plan_phases(run(*halves, sequence_length=length, batch_size=batch))
            assert first.batch_size * 16 == second.batch_size * second.sequence_length == batch * length
    for factor, length, expected in ((0.5, 64, 64), (2, 64, 256), (1, 20, 40), (0.001, 64, 1), (1, 25, 50)):
        first, _ = plan_phases(run({**halves[0], "token_factor": factor}, halves[1], sequence_length=length, batch_size=32))
        assert first.batch_size == expected, (factor, length)
    order = Order(1, plan_phases(run(*halves, sequence_length=64, batch_size=32)))
    assert (order.tokens_before(5), order.tokens_before(10), order.samples_before(4)) == (5 * 2048, 10 * 2048, 4 * 128)
    with pytest.raises(ValidationError, match="both give the rows of a step"):
        PhaseSettings(steps=1, batch_size=2, token_factor=1)


def simulate(trainer: TrainerSettings, rows: dict[int, int], seed: int) -> list[list[tuple[int, int]]]:
    """(epoch, sample) of every step, by walking: one endless list of epochs for each sequence length, read from the front."""
    taken: dict[int, int] = defaultdict(int)
    steps = []
    for phase in trainer.phases or [PhaseSettings(steps=trainer.steps)]:
        length, batch = phase.sequence_length or trainer.sequence_length, phase.batch_size or trainer.batch_size
        for _ in range(phase.steps):
            step = []
            for _ in range(batch):
                epoch, position = divmod(taken[length], rows[length])
                step.append((epoch, int(permute(np.array([position]), rows[length], "order", seed, epoch)[0])))
                taken[length] += 1
            steps.append(step)
    return steps


def pairs(keys: Keys) -> list[tuple[int, int]]:
    return list(zip(keys.epochs.tolist(), keys.samples.tolist(), strict=True))


PHASES = st.lists(
    st.fixed_dictionaries(
        {"steps": st.integers(1, 6)},
        optional={"sequence_length": st.sampled_from([8, 16, 32]), "batch_size": st.integers(1, 9)},
    ),
    max_size=5,
)


@given(PHASES, st.integers(1, 9), st.integers(1, 20), st.integers(1, 20), st.integers(0, 2**60))
def test_closed_form_is_what_walking_gives(phases: list[dict[str, int]], batch: int, short: int, long: int, seed: int) -> None:
    trainer = run(*phases, batch_size=batch, sequence_length=16, **({} if phases else {"steps": 7}))
    rows = {8: short, 16: long, 32: 5}
    order = Order(seed, plan_phases(trainer))
    walked = simulate(trainer, rows, seed)
    assert order.steps == len(walked)
    read: Counter[int] = Counter()
    for step, expected in enumerate(walked):
        length = order.phase_at(step).sequence_length
        assert order.samples_before(step) == read[length]
        assert pairs(order.step_samples(step, rows[length])) == expected
        read[length] += len(expected)


def test_each_sample_once_in_an_epoch() -> None:
    order = Order(3, plan_phases(run({"steps": 10, "batch_size": 7}, {"steps": 15, "batch_size": 2})))
    seen = [pair for step in range(25) for pair in pairs(order.step_samples(step, 50))]
    assert sorted(seen) == [(epoch, sample) for epoch in (0, 1) for sample in range(50)]
    assert [sample for _, sample in seen[:50]] != [sample for _, sample in seen[50:]]


def test_plan_fills_in_what_phases_leave_out() -> None:
    trainer = run(
        {"steps": 9, "sequence_length": 128},
        {"steps": 1, "sequence_length": 512, "batch_size": 8, "micro_batch_size": 2},
        {"steps": 4},
        batch_size=32,
        micro_batch_size=16,
        sequence_length=128,
    )
    first, second, third = plan_phases(trainer)
    assert (first.first_step, first.end, first.batch_size, first.micro_batch_size) == (0, 9, 32, 16)
    assert (second.first_step, second.batch_size, second.micro_batch_size, second.samples_before) == (9, 8, 2, 0)
    assert (third.first_step, third.sequence_length, third.samples_before) == (10, 128, 9 * 32)
    assert [phase.index for phase in (first, second, third)] == [0, 1, 2]


@given(st.integers(1, 9), st.integers(1, 7), st.integers(1, 40), st.integers(1, 60), st.integers(0, 3))
def test_rows_of_similar_length_come_together(window: int, batch: int, steps: int, rows: int, seed: int) -> None:
    """Every window of steps reads the rows that it reads in random order, and its batches do not overlap in length."""
    sizes = np.random.default_rng(seed).integers(1, 30, rows)
    by_length = Order(seed, plan_phases(TrainerSettings(steps=steps, batch_size=batch, length_window=window)))
    plain = Order(seed, plan_phases(TrainerSettings(steps=steps, batch_size=batch)))
    for first in range(0, steps, window):
        together = range(first, min(first + window, steps))
        read = [by_length.step_samples(step, rows, sizes=sizes) for step in together]
        expected = [plain.step_samples(step, rows) for step in together]
        assert Counter(pair for keys in read for pair in pairs(keys)) == Counter(
            pair for keys in expected for pair in pairs(keys)
        )
        spans = sorted((int(sizes[keys.samples].min()), int(sizes[keys.samples].max())) for keys in read)
        assert all(shorter[1] <= longer[0] for shorter, longer in itertools.pairwise(spans))


def test_the_longest_batch_of_a_window_comes_at_any_turn() -> None:
    order = Order(3, plan_phases(TrainerSettings(steps=400, batch_size=10, length_window=8)))
    longest = {
        turn for step in range(400) if (turn := step % 8) >= 0 and 79 in order.step_samples(step, 80, sizes=np.arange(80)).samples
    }
    assert longest == set(range(8))


def test_no_phases_are_one() -> None:
    (phase,) = plan_phases(TrainerSettings(steps=5, batch_size=4, sequence_length=64))
    assert (phase.first_step, phase.steps, phase.sequence_length, phase.batch_size, phase.micro_batch_size) == (0, 5, 64, 4, None)


@given(st.sampled_from([1, 2, 3, 4, 6]), st.sampled_from([None, 1, 2, 5, 100]), st.integers(0, 9))
def test_processes_and_micro_batches_only_cut(world: int, micro: int | None, step: int) -> None:
    keys = Order(1, plan_phases(TrainerSettings(steps=10, batch_size=12))).step_samples(step, 100)
    shards = [shard(keys, rank, world) for rank in range(world)]
    assert {len(part) for part in shards} == {12 // world}
    cut = [piece for part in shards for piece in micro_batches(part, micro)]
    assert all(0 < len(piece) <= (micro or 12) for piece in cut)
    assert [pair for piece in cut for pair in pairs(piece)] == pairs(keys)


def test_unequal_shares_are_refused() -> None:
    with pytest.raises(SettingsError) as caught:
        check_divisible(plan_phases(TrainerSettings(batch_size=33)), 4)
    assert str(caught.value) == (
        "a batch of 33 sequences cannot be shared equally by 4 processes\n"
        "trainer.batch_size=33\n"
        "use a multiple of 4, such as 32 or 36, or another launch.processes"
    )
    with pytest.raises(SettingsError, match="2 sequences") as caught:
        check_divisible(plan_phases(run({"steps": 1}, {"steps": 1, "batch_size": 2}, batch_size=8)), 4)
    assert caught.value.where == "trainer.phases[1], batch_size 2"
    assert caught.value.remedy.startswith("use a multiple of 4, such as 4,")
    check_divisible(plan_phases(TrainerSettings(batch_size=32)), 4)


def test_seeking_in_ten_million_samples_is_instant() -> None:
    order = Order(1, plan_phases(TrainerSettings(steps=10_000_000, batch_size=256)))
    began = time.perf_counter()
    keys = order.step_samples(9_000_000, 10_000_000)
    assert time.perf_counter() - began < 0.2
    assert set(keys.epochs.tolist()) == {9_000_000 * 256 // 10_000_000}
    assert len(set(keys.samples.tolist())) == 256


@pytest.mark.parametrize(
    ("steps", "shares"), [(10, (0.9, 0.1)), (1000, (0.1, 0.2, 0.7)), (7, (0.5, 0.5)), (1_000_000, (1 / 3, 1 / 3, 1 / 3))]
)
def test_shares_of_a_run_are_all_of_it(steps: int, shares: tuple[float, ...]) -> None:
    """Whatever is rounded, no step is lost and none is done twice; no phase is more than a step off its share."""
    phases = plan_phases(TrainerSettings.model_validate({"steps": steps, "phases": [{"share": share} for share in shares]}))
    assert [phase.first_step for phase in phases] == [0, *(phase.end for phase in phases[:-1])]
    assert phases[-1].end == steps
    assert all(abs(phase.steps - steps * share) <= 1 for phase, share in zip(phases, shares, strict=True))


@pytest.mark.parametrize(
    ("steps", "phases", "says"),
    [
        (10, [{}], "either steps or share"),
        (10, [{"steps": 10, "share": 1.0}], "either steps or share"),
        (10, [{"steps": 5}, {"share": 0.5}], "all be given by steps, or all by share"),
        (10, [{"share": 0.5}, {"share": 0.4}], "add up to 0.9"),
        (2, [{"share": 0.9}, {"share": 0.1}], "too few"),
    ],
)
def test_phases_that_are_not_the_run_are_refused(steps: int, phases: list[dict[str, float]], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        TrainerSettings.model_validate({"steps": steps, "phases": phases})
