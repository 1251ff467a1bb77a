"""Progress of the training for the user: one live line on a terminal, plain lines elsewhere.

No failure of the output (a closed pipe, a lost terminal) may affect the training: the line then stops.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TextIO

from rich.live import Live
from rich.text import Text

from plmtrain.console import QuietConsole, counted, duration
from plmtrain.programs.baseline import Baseline

_REDRAW = 0.1
"""Seconds between two updates of the live line."""
_LEAST, _MOST = 10.0, 60.0
"""Seconds between two plain lines of progress, at least, and at most where a step is not longer."""
_MEASURED = 5.0
"""Seconds of steps from which the whole duration is estimated."""
_WORTH_TELLING = 0.1
"""The share by which the number of steps must change to be told."""
_LONG = 3600.0
"""Seconds from which a run is told what would be quicker."""


class ProgressLine:
    """A run's progress.

    Args:
        total: steps in all.
        first_step: steps that were done before this process.
        advice: what would be quicker, said if the run will take long.
        baseline: the loss that a validation is compared with, shown beside its loss; None without a comparison.
        stream: the output; standard output if omitted.
        clock: in seconds; tests pass their own.
    """

    def __init__(
        self,
        total: int,
        *,
        first_step: int = 0,
        advice: str = "",
        baseline: Baseline | None = None,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._total = self._told_total = total
        self._first_step = self._done = first_step
        self._baseline = baseline
        self._compared = ""
        self._stream: TextIO = stream or sys.stdout
        self._clock = clock
        self._opened = self._planned = clock()
        self._advice = advice
        self._started: float | None = None
        self._began: float | None = None
        self._estimated = False
        self._drawn = self._told = -1e9
        self._record: dict[str, float] = {}
        self._silent = False
        self._console = QuietConsole(file=self._stream, markup=False, highlight=False, emoji=False, soft_wrap=True)
        self._live: Live | None = None
        if self._console.is_terminal and not self._console.is_dumb_terminal:
            self._live = Live(
                console=self._console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False, vertical_overflow="crop"
            )
            self._draw(self._live.start)

    def step(self, done: int) -> None:
        """Advance to a step; the first call may be made before any step, to measure the first one too.

        On a terminal the line is updated, at most ten times a second; elsewhere a line comes at least once a minute.
        """
        now = self._clock()
        if self._started is None and done == self._first_step:
            self._started = now
            return
        self._done = done
        if not self._estimated:
            self._estimate(now)
        if self._began is None:
            # The first step includes warm-up, which would distort the remaining time.
            self._began, self._first_step = now, done
        if self._live is not None and (now - self._drawn >= _REDRAW or done == self._total):
            self._refresh(now)
        elif self._live is None and now - max(self._told, self._opened) >= _MOST:
            self._tell(now)

    def planned(self, total: int) -> None:
        """Count to another number of steps; a larger change of it gets a line, at most once a minute."""
        self._total = total
        now = self._clock()
        if abs(total - self._told_total) > _WORTH_TELLING * self._told_total and now - self._planned >= _MOST:
            self._told_total, self._planned = total, now
            self.note(f"{self._count(self._done)}: so many steps fit into trainer.hours at the present speed")

    def _estimate(self, now: float) -> None:
        """Say how long the rest of the run will take, as soon as the steps allow it; a long first step has little warm-up."""
        began = self._started if self._began is None else self._began
        taken = self._done - self._first_step
        if began is None or taken <= 0 or now - began < _MEASURED or self._done == self._total:
            return
        self._estimated = True
        step = (now - began) / taken
        left = step * (self._total - self._done)
        steps = counted(self._total - self._done, "step")
        self.note(f"about {duration(left)} for the other {steps}, without validations ({step:.3g} s a step)")
        if left >= _LONG and self._advice:
            self.note(self._advice)

    def record(self, record: Mapping[str, float]) -> None:
        """Show a measurement: a training record (``loss``, ``lr`` ...) or a validation (``val/loss`` ...)."""
        validation = {name.removeprefix("val/"): value for name, value in record.items() if name.startswith("val/")}
        if validation:
            self.note(f"{self._count(int(record['step']))}  validation: {'; '.join(self._sentences(validation))}")
            return
        self._record = dict(record)
        now = self._clock()
        if self._live is not None:
            self._refresh(now)
        elif now - self._told >= _LEAST or record.get("step") == self._total:
            self._tell(now)

    def _tell(self, now: float) -> None:
        """Print a plain line of progress."""
        self._told = now
        self.note("  ".join(self._parts(now)))

    def _sentences(self, validation: Mapping[str, float]) -> list[str]:
        """Put a validation into words: its measures, and how it compares with the baseline."""
        comparison = "" if self._baseline is None else self._baseline.compare(validation)
        if self._baseline is None or not comparison:
            return [_listed(validation)]
        self._compared = self._baseline.brief(validation)
        shown_apart = {self._baseline.reference, self._baseline.measure} - {"loss"}
        return [_listed({name: value for name, value in validation.items() if name not in shown_apart}), comparison]

    def note(self, text: str) -> None:
        """Print a line that stays; on a terminal it is above the live one."""
        self._draw(lambda: self._console.print(text))
        if self._live is None:
            self._draw(self._stream.flush)

    def close(self) -> None:
        """Leave the last line as it is and release the terminal."""
        if self._live is not None:
            self._draw(self._live.stop)
            self._live = None

    def __enter__(self) -> ProgressLine:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _refresh(self, now: float) -> None:
        live = self._live
        assert live is not None
        self._drawn = now
        width = self._console.width - 1
        line = ""
        for part in self._parts(now):
            wider = f"{line}  {part}" if line else part
            if len(wider) > width and line:
                break
            line = wider
        self._draw(lambda: live.update(Text(line[:width], no_wrap=True, overflow="crop"), refresh=True))

    def _count(self, step: int) -> str:
        return f"step {step}/{self._total}"

    def _parts(self, now: float) -> list[str]:
        """Return the parts of the line, the most important first: a narrow terminal shows the beginning."""
        record = self._record
        parts = [self._count(self._done if self._live is not None else max(int(record.get("step", 0)), self._done))]
        if "loss" in record:
            parts.append(f"loss {_number(record['loss'])}")
        if self._compared:
            parts.append(f"({self._compared})")
        if (left := self._seconds_left(now)) is not None:
            parts.append(f"{duration(left)} left")
        if "tokens_per_second" in record:
            parts.append(f"{record['tokens_per_second']:,.0f} tokens/s")
        if "machine_share" in record:
            parts.append(f"{100 * record['machine_share']:.0f}% of the machine")
        if "lr" in record:
            parts.append(f"lr {record['lr']:.2e}")
        return parts

    def _seconds_left(self, now: float) -> float | None:
        taken = self._done - self._first_step
        if self._began is None or taken <= 0:
            return None
        return (now - self._began) / taken * (self._total - self._done)

    def _draw(self, action: Callable[[], object]) -> None:
        """Draw, unless the output is closed."""
        if self._silent:
            return
        try:
            action()
        except (OSError, ValueError):  # a closed Python file raises ValueError
            self._silent = True
            self._live = None


def _readable(values: Mapping[str, float]) -> dict[str, float]:
    """Return the measures of a validation in words, the loss first; a loss of one term is shown once."""
    terms = [name for name in values if name.startswith("loss/")]
    only = terms[0].removeprefix("loss/") if len(terms) == 1 else None
    shown = {name: value for name, value in values.items() if only is None or name != f"loss/{only}"}
    words = {}
    for name in sorted(shown, key=lambda name: (name != "loss", name != "perplexity")):
        term, _, rest = name.removeprefix(f"{only}/").partition("/")
        words[(f"{rest} loss" if term == "loss" and rest else f"{term} {rest}").strip().replace("_", " ")] = shown[name]
    return words


def _listed(measures: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {_number(value)}" for name, value in _readable(measures).items())


def _number(value: float) -> str:
    return f"{value:.4g}" if abs(value) >= 1000 or abs(value) < 0.001 else f"{value:.4f}"
