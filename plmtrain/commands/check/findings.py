"""The findings of a check, as a table or as JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from plmtrain.console import counted
from plmtrain.errors import PlmtrainError, SettingsErrors, Stopped, understood
from plmtrain.redaction import redact, redact_text

HEADINGS = ("run", "model", "teacher", "data", "vocabulary", "work", "speed", "memory", "disk", "time")
"""The headings of the facts, in order."""


@dataclass
class Findings:
    """The findings of a check.

    Args:
        subject: the run's name, once it is known.
        facts: the run's properties and costs as text, by heading.
        values: the same as JSON values.
        errors: the errors that would end the run.
        warnings: facts that the user may not expect, but that would not end the run.
        origin: returns the origin of a setting's value.
    """

    subject: str = ""
    facts: dict[str, str] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)
    errors: list[PlmtrainError] = field(default_factory=list)
    warnings: list[PlmtrainError] = field(default_factory=list)
    origin: Callable[[str], str] = str

    @property
    def exit_code(self) -> int:
        """The exit code of the error that would end the run first (settings, then data, then memory and disk), or 0."""
        return min((error.exit_code for error in self.errors), default=0)

    def fact(self, heading: str, text: str, **values: Any) -> None:
        """Add a fact about the run or its costs."""
        self.facts[heading] = text
        self.values |= values

    def wrong(self, errors: Iterable[PlmtrainError]) -> None:
        """Add errors that would end the run, each one once."""
        known = {str(error) for error in self.errors}
        for error in errors:
            for one in error.errors if isinstance(error, SettingsErrors) else (error,):
                if str(one) not in known:
                    self.errors.append(one)
                    known.add(str(one))

    def warn(self, what: str, where: str, remedy: str) -> None:
        """Add a warning about something that the user may not expect."""
        self.warnings.append(PlmtrainError(what, where, remedy))

    @contextmanager
    def collecting(self) -> Iterator[None]:
        """Collect the errors of the block that a user can act on, instead of ending the check; other exceptions propagate."""
        try:
            yield
        except BaseException as error:
            problem = understood(error)
            if problem is None or isinstance(problem, Stopped):
                raise
            self.wrong([problem])

    def _draw_facts(self, console: Console) -> None:
        facts = [(heading, self.facts[heading]) for heading in HEADINGS if heading in self.facts]
        if console.is_terminal:
            table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
            table.add_column(style="bold", no_wrap=True)
            table.add_column(overflow="fold")
            for heading, text in facts:
                table.add_row(heading, Text(text))
            console.print(table)
        else:  # one line each without wrapping, so that grep finds whole lines
            lines = [(heading if first else "", line) for heading, text in facts for first, line in _numbered(text)]
            for heading, line in lines:
                console.print(Text(f"{heading:<12}{line}"), soft_wrap=True)

    def as_json(self) -> dict[str, Any]:
        """Return the findings as one JSON object."""
        problems = {
            "errors": [{**_lines(one), "exit_code": one.exit_code} for one in self.errors],
            "warnings": [_lines(one) for one in self.warnings],
        }
        texts: dict[str, Any] = redact({"run": self.subject, **problems})
        return {"exit_code": self.exit_code, **texts, **self.values}

    def draw(self, console: Console) -> None:
        """Print the table of facts, each warning and error in three lines, and the verdict."""
        if self.subject:
            console.print(Text(self.subject, "bold"))
        self._draw_facts(console)
        for mark, style, problems in (("warning: ", "bold yellow", self.warnings), ("wrong: ", "bold red", self.errors)):
            for one in problems:
                what, *rest = redact_text(str(one)).splitlines()
                console.print(Text.assemble((f"\n{mark}", style), what, *(f"\n  {line}" for line in rest)), soft_wrap=True)
        console.print()
        if not self.errors:
            noted = f", {counted(len(self.warnings), 'warning')}" if self.warnings else ""
            console.print(Text(f"nothing is wrong{noted}", "bold green"))
        else:
            verdict = f"{counted(len(self.errors), 'thing')} wrong: the run would end with exit code {self.exit_code}"
            console.print(Text(verdict, "bold red"))


def _numbered(text: str) -> list[tuple[bool, str]]:
    """Return the lines of a text, each with whether it is the first."""
    return [(number == 0, line) for number, line in enumerate(text.splitlines())]


def _lines(problem: PlmtrainError) -> dict[str, str]:
    return {"what": problem.what, "where": problem.where, "remedy": problem.remedy}
