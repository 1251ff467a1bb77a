"""What a signal has to wait for, in words and seconds."""

from __future__ import annotations

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
