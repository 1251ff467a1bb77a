"""The clock of a run: how fast its steps are, and what a signal has to wait for."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from plmtrain.console import duration


class Clock:
    """Measures the speed of the steps, without the time of validation and saving, and knows what is being done.

    Args:
        tokens: the number of tokens that the run had read before this process began.
        machine_rate: FLOPs a second that the machine's matrix products reach alone; None if unknown.
        several: whether several processes train. They agree on a stop within each step: one that is asked for later in the step
            comes after the next.
    """

    def __init__(self, tokens: int, machine_rate: float | None = None, *, several: bool = False) -> None:
        self._began = self._since = time.perf_counter()
        self._tokens = tokens
        self._machine_rate = machine_rate
        self._several = several
        self._flops: int | None = 0
        self._doing = "this step"
        self._step_began = self._began
        self._step_seconds: float | None = None

    def count(self, flops: int | None) -> None:
        """Count the FLOPs of a step; None if they are unknown, and with them those of all steps until the next reading."""
        self._flops = None if flops is None or self._flops is None else self._flops + flops

    def read(self, tokens: int) -> dict[str, float]:
        """Return tokens per second since the last reading, the share of the machine's rate that the steps reached, if it is
        known, and seconds since this process began."""
        now = time.perf_counter()
        passed = max(now - self._since, 1e-9)
        speed = {"tokens_per_second": (tokens - self._tokens) / passed}
        if self._machine_rate is not None and self._flops is not None:
            speed["machine_share"] = self._flops / passed / self._machine_rate
        self._tokens, self._since, self._flops = tokens, now, 0
        return {**speed, "seconds": now - self._began}

    @contextmanager
    def paused(self, doing: str) -> Iterator[None]:
        """Exclude the time inside the block from the rate.

        Args:
            doing: what happens there.
        """
        began, self._doing = time.perf_counter(), doing
        yield
        self._since += time.perf_counter() - began
        self._doing = "this step"

    @contextmanager
    def step(self) -> Iterator[None]:
        """Measure a step, for ``awaited``."""
        self._step_began = time.perf_counter()
        yield
        self._step_seconds = time.perf_counter() - self._step_began

    def awaited(self) -> str:
        """Return what must end before the training can stop, and how long it will take; another thread may call this."""
        if self._doing != "this step":
            return f"after {self._doing}"
        awaited = "after this step or the next" if self._several else "after this step"
        if self._step_seconds is None:
            return awaited
        left = max(self._step_seconds - (time.perf_counter() - self._step_began), 1.0)
        at_most = f"at most about {duration(left + self._step_seconds)}" if self._several else f"about {duration(left)}"
        return f"{awaited} ({at_most})"
