"""A sweep over the tasks of a suite such as GLUE: one score for each task, and their average.

A task with several metrics counts with their mean (Wang et al. 2018, section 5). The average is over the tasks, each with the
mean over its seeds, and there is none while a task is missing.
"""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from plmtrain.study.sweep_record import Record, shown_values
from plmtrain.study.sweep_summary import SEED, Statistics

TASK = "task"
OFTEN_OMITTED: Mapping[str, str] = {"glue": "glue/wnli"}
"""By suite, the task that many papers omit: of GLUE WNLI, whose held-out part contradicts its training part."""
COUNTED: Mapping[str, tuple[str, ...]] = {
    "glue/cola": ("val/mcc",),
    "klue/mrc": ("val/exact_match",),
    "klue/ner": ("val/f1", "val/macro_f1"),
    "klue/sts": ("val/pearson",),
    "klue/ynat": ("val/f1",),
}
"""The metrics that count for tasks that measure others besides."""
BEST = "the best of each"


def score(job: Record) -> float | None:
    """Return the mean of the metrics that count for a job's task; None if it did not finish, or if one of them is undefined."""
    names = COUNTED.get(job.values[TASK], job.measures)
    if job.state != "finished" or not names or any(name not in job.metrics for name in names):
        return None
    return statistics.fmean(job.metrics[name] for name in names)


@dataclass(frozen=True)
class Line:
    """The scores of all tasks with the same values of the other swept keys, or of the best ones of each task.

    Args:
        values: of the swept keys besides task and seed; None for the line of the best ones.
        scores: by task; None where not all of its jobs have one.
        omitted: the task that many omit from the average.
    """

    values: Mapping[str, str] | None
    scores: Mapping[str, Statistics | None]
    omitted: str | None

    @property
    def average(self) -> float | None:
        """The average of all tasks; None if one is missing."""
        return _average(self.scores.values())

    @property
    def average_without(self) -> float | None:
        """The average without the task that many omit; None if another one is missing."""
        return _average(own for task, own in self.scores.items() if task != self.omitted)


def _average(scores: Iterable[Statistics | None]) -> float | None:
    scores = list(scores)
    known = [own.mean for own in scores if own is not None]
    return statistics.fmean(known) if known and len(known) == len(scores) else None


@dataclass(frozen=True)
class Suite:
    """The jobs of a sweep over the tasks of one suite.

    Args:
        name: of the suite.
        jobs: of the sweep.
    """

    name: str
    jobs: tuple[Record, ...]

    @classmethod
    def of(cls, jobs: Sequence[Record]) -> Suite | None:
        """Return the suite of some jobs; None if they are not of several tasks of one suite."""
        tasks = {job.values.get(TASK, "") for job in jobs}
        suites = {task.rpartition("/")[0] for task in tasks}
        return cls(suites.pop(), tuple(jobs)) if len(tasks) > 1 and len(suites) == 1 and "" not in suites else None

    @property
    def tasks(self) -> list[str]:
        """Its tasks in order."""
        return list(dict.fromkeys(job.values[TASK] for job in self.jobs))

    @property
    def omitted(self) -> str | None:
        """The task that many omit from the average, if it is one of them."""
        task = OFTEN_OMITTED.get(self.name)
        return task if task in self.tasks else None

    @property
    def swept(self) -> list[str]:
        """The swept keys besides task and seed."""
        return list({key: None for job in self.jobs for key in job.values if key not in (TASK, SEED)})

    @cached_property
    def lines(self) -> list[Line]:
        """A line for each combination of the other keys, and, of several, one of the best for each task."""
        alike: dict[tuple[tuple[str, str], ...], dict[str, list[Record]]] = {}
        for job in self.jobs:
            others = tuple((key, value) for key, value in job.values.items() if key not in (TASK, SEED))
            alike.setdefault(others, {}).setdefault(job.values[TASK], []).append(job)
        lines = [
            Line(dict(others), {task: _over_seeds(by_task.get(task, [])) for task in self.tasks}, self.omitted)
            for others, by_task in alike.items()
        ]
        if len(lines) > 1:
            lines.append(Line(None, {task: _best([line.scores[task] for line in lines]) for task in self.tasks}, self.omitted))
        return lines

    def best_runs(self) -> dict[str, str]:
        """Return for each task the folder of the run that is best by the metric that chooses its checkpoint."""
        runs: dict[str, str] = {}
        for task in self.tasks:
            valued = [
                (job.value if job.higher else -job.value, job)
                for job in self.jobs
                if job.values[TASK] == task and job.value is not None
            ]
            if valued:
                runs[task] = max(valued, key=lambda one: one[0])[1].run
        return runs

    def notes(self) -> list[str]:
        """Return what must be said beside the table."""
        notes = [
            f"{self.name}: a task with several metrics counts with their mean; the average is over tasks, each with its mean "
            "over seeds"
        ]
        if self.omitted is not None:
            notes.append(f"without {self.omitted.rpartition('/')[2]}: many papers omit it from the average")
        if len(self.lines) > 1:
            notes.append(f"{BEST}: for each task the line with the best median, chosen by validation, so that it is too good")
        if missing := [task for task in self.tasks if any(line.scores[task] is None for line in self.lines)]:
            notes.append(f"there is no average of a line while a task is missing: {', '.join(missing)}")
        return notes

    def cells(self, digits: int | None = 4) -> Iterator[list[str]]:
        """Yield the headings and the rows of the table.

        Args:
            digits: of numbers, beside which the deviation stands; None for all digits of the means alone.
        """
        short = [task.rpartition("/")[2] for task in self.tasks]
        without = [] if self.omitted is None else [f"without {self.omitted.rpartition('/')[2]}"]
        yield [*self.swept, *short, "average", *without]
        for line in self.lines:
            values = shown_values(line.values, self.swept) if line.values is not None else [BEST, *[""] * (len(self.swept) - 1)]
            averages = [line.average, *([line.average_without] if without else [])]
            yield [
                *values,
                *("" if own is None else _shown(own.mean, own.deviation, digits) for own in line.scores.values()),
                *("" if average is None else _shown(average, None, digits) for average in averages),
            ]

    def as_csv(self) -> str:
        """Return the table with all digits of every number."""
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(self.cells(None))
        return text.getvalue()

    def as_json(self) -> dict[str, Any]:
        """Return the table as an object."""
        return {
            "suite": self.name,
            "best_runs": self.best_runs(),
            "lines": [
                {
                    "values": line.values,
                    "scores": {task: own and own.mean for task, own in line.scores.items()},
                    "average": line.average,
                    "average_without": None if self.omitted is None else {self.omitted: line.average_without},
                }
                for line in self.lines
            ],
            "notes": self.notes(),
        }


def _over_seeds(jobs: Sequence[Record]) -> Statistics | None:
    """Return the statistics of a task's jobs; None if one has no score."""
    scores = [score(job) for job in jobs]
    known = [one for one in scores if one is not None]
    return Statistics.of(known) if known and len(known) == len(scores) else None


def _best(scores: Sequence[Statistics | None]) -> Statistics | None:
    known = [own for own in scores if own is not None]
    return max(known, key=lambda own: (own.median, own.mean)) if len(known) == len(scores) else None


def _shown(number: float, deviation: float | None, digits: int | None) -> str:
    if digits is None:
        return str(number)
    return f"{number:.{digits}f}" + ("" if deviation is None else f" ± {deviation:.{digits}f}")
