"""What a signal has to wait for, in words and seconds."""

from __future__ import annotations

import math
import tracemalloc

import pytest

from plmtrain.training import clock
from plmtrain.training.clock import Clock


@pytest.mark.parametrize(
    ("several", "before", "within"),
    [
        (False, "after this step", "after this step (about 1 min 0 s)"),
        # A stop that comes after the processes agreed in this step waits for the next one, too.
        (True, "after this step or the next", "after this step or the next (at most about 2 min 40 s)"),
    ],
)
def test_the_time_until_a_stop(several: bool, before: str, within: str, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(clock.time, "perf_counter", lambda: now)
    measured = Clock(0, several=several)
    with measured.step(0):
        assert measured.awaited() == before
        now += 100
    with measured.step(0):
        now += 40
        assert measured.awaited() == within
    with measured.paused("this checkpoint"):
        assert measured.awaited() == "after this checkpoint"


def test_the_time_of_a_step_is_that_of_the_present() -> None:
    """The first step is warm-up. The last ten count if they are older, too."""
    now = 0.0
    measured = Clock(0, lately=30.0, now=lambda: now)
    for seconds, expected in [*[(1.0, 1.0)] * 30, *[(2.0, None)] * 20, (2.0, 2.0), *[(50.0, None)] * 9, (50.0, 50.0)]:
        with measured.step(0):
            now += seconds
        if expected is not None and now > 1.0:
            assert measured.step_seconds(0) == expected
    assert measured.step_seconds(1) is None


def test_a_long_present_with_short_steps_needs_little_memory() -> None:
    now = 0.0
    measured = Clock(0, lately=40.0, now=lambda: now)
    tracemalloc.start()
    for step in range(12_000):
        with measured.step(0 if step < 9_000 else 1):
            now += 0.01 if step < 6_000 else 0.02
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert used < 150_000
    assert math.isclose(measured.step_seconds(1) or 0.0, 0.02)
    assert measured.step_seconds(0) is None
