"""The clock of a run: how fast its steps are, what its parts take, and what a signal has to wait for."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from plmtrain.console import duration

_LEAST_STEPS = 10
"""The last steps that are always among those from which the time of a step is estimated."""
_SPANS = 200
"""The time that counts as the present is divided into so many parts: the steps of one are counted together."""

VALIDATION, CHECKPOINT = "this batch of the validation", "this checkpoint"
"""The pauses between steps, in the words of a stop that waits for one."""


@dataclass
class _Span:
    """Steps of a phase, one after another: how many, how long they took in all, and when the first began and the last ended."""

    phase: int
    began: float
    steps: int = 0
    seconds: float = 0.0
    ended: float = 0.0


class Clock:
    """Measures the speed of the steps, without the time of validation and saving, that of these, and knows what is being done.

    Args:
        tokens: the number of tokens that the run had read before this process began.
        machine_rate: FLOPs a second that the machine's matrix products reach alone; None if unknown.
        several: whether several processes train. They agree on a stop within each step: one that is asked for later in the step
            comes after the next.
        used: the seconds that the run took before.
        lately: the seconds before now that count as the present.
        now: returns the time in seconds; tests pass their own.
    """

    def __init__(
        self,
        tokens: int,
        machine_rate: float | None = None,
        *,
        several: bool = False,
        used: float = 0.0,
        lately: float = 60.0,
        now: Callable[[], float] | None = None,
    ) -> None:
        self._now = now or time.perf_counter
        self._began = self._since = self._now()
        self._used, self._lately = used, lately
        self._spans: deque[_Span] = deque()
        self._pauses: dict[str, float] = {}
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
        now = self._now()
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
        began, self._doing = self._now(), doing
        yield
        self._pauses[doing] = self._now() - began
        self._since += self._pauses[doing]
        self._doing = "this step"

    @contextmanager
    def step(self, phase: int) -> Iterator[None]:
        """Measure a step of a phase."""
        self._step_began = self._now()
        yield
        ended = self._now()
        if self._step_seconds is not None:  # the first one includes warm-up
            self._keep(phase, ended)
        self._step_seconds = ended - self._step_began

    def _keep(self, phase: int, ended: float) -> None:
        """Count the present step, and forget those that are no longer the present."""
        spans = self._spans
        if not spans or spans[-1].phase != phase or ended - spans[-1].began > self._lately / _SPANS:
            spans.append(_Span(phase, self._step_began))
        last = spans[-1]
        last.steps, last.seconds, last.ended = last.steps + 1, last.seconds + ended - self._step_began, ended
        while spans[0].ended < ended - self._lately and sum(span.steps for span in spans) - spans[0].steps >= _LEAST_STEPS:
            spans.popleft()

    @property
    def used(self) -> float:
        """The seconds that the run has taken, in all its processes one after another."""
        return self._used + self._now() - self._began

    def step_seconds(self, phase: int) -> float | None:
        """Return the mean seconds of a step of a phase, as of late; None if none was measured."""
        spans = [span for span in self._spans if span.phase == phase]
        return sum(span.seconds for span in spans) / sum(span.steps for span in spans) if spans else None

    def pause_seconds(self, doing: str) -> float | None:
        """Return the seconds of the last pause of a kind; None if there was none."""
        return self._pauses.get(doing)

    def awaited(self) -> str:
        """Return what must end before the training can stop, and how long it will take; another thread may call this."""
        if self._doing != "this step":
            return f"after {self._doing}"
        awaited = "after this step or the next" if self._several else "after this step"
        if self._step_seconds is None:
            return awaited
        left = max(self._step_seconds - (self._now() - self._step_began), 1.0)
        at_most = f"at most about {duration(left + self._step_seconds)}" if self._several else f"about {duration(left)}"
        return f"{awaited} ({at_most})"
