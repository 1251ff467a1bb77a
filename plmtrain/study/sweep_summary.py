"""A sweep's configurations: jobs that differ in their seed alone, with statistics over the seeds and the best one by a rule.

The rule looks at validation alone, and at configurations all of whose runs finished: over other seeds, or over those that
survived, a mean would not compare.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from plmtrain.console import counted
from plmtrain.metrics.bootstrap import LEVEL, RESAMPLES, mean_interval
from plmtrain.study.sweep_record import Record, shown_values

SEED = "seed"
ENOUGH = 5
"""Fewer seeds have too narrow an interval."""


@dataclass(frozen=True)
class Statistics:
    """The values of a metric over the seeds of a configuration.

    Args:
        mean, median: of the values.
        deviation: their sample standard deviation; None of one value.
        interval: of the mean, by the bootstrap; None of one value.
    """

    mean: float
    median: float
    deviation: float | None
    interval: tuple[float, float] | None

    @classmethod
    def of(cls, values: Sequence[float]) -> Statistics:
        """Compute them of one value or more."""
        several = len(values) > 1
        return cls(
            mean=statistics.fmean(values),
            median=statistics.median(values),
            deviation=statistics.stdev(values) if several else None,
            interval=mean_interval(values) if several else None,
        )


@dataclass(frozen=True)
class Configuration:
    """Jobs with the same values of all swept keys but the seed.

    Args:
        values: these values.
        jobs: the jobs, in order.
    """

    values: Mapping[str, str]
    jobs: tuple[Record, ...]

    def __str__(self) -> str:
        return in_words(self.values)

    @property
    def finished(self) -> list[Record]:
        """The jobs that finished."""
        return [job for job in self.jobs if job.state == "finished"]

    @property
    def by_seed(self) -> dict[str, float]:
        """The measure of each finished job that has it, by its seed."""
        return {job.values.get(SEED, ""): job.value for job in self.jobs if job.value is not None}

    @property
    def is_complete(self) -> bool:
        """Whether all its jobs finished with a value of their measure."""
        return all(job.value is not None for job in self.jobs)

    @property
    def collapsed(self) -> int | None:
        """How many of its runs give all held-out examples the same answer; None if that is known of none."""
        known = [job.collapsed for job in self.finished if job.collapsed is not None]
        return sum(known) if known else None

    @cached_property
    def metrics(self) -> dict[str, Statistics]:
        """The statistics of each metric that all its finished jobs have: a mean over those alone that have it would mislead."""
        names = {name: None for job in self.finished for name in sorted(job.metrics)}
        return {
            name: Statistics.of([job.metrics[name] for job in self.finished])
            for name in names
            if all(name in job.metrics for job in self.finished)
        }


@dataclass(frozen=True)
class Summary:
    """The configurations of a sweep.

    Args:
        jobs: all jobs, in order.
        configurations: in the order of their first jobs.
    """

    jobs: tuple[Record, ...]
    configurations: tuple[Configuration, ...]

    @classmethod
    def of(cls, jobs: Sequence[Record]) -> Summary:
        """Group jobs by the values of all swept keys but the seed."""
        alike: dict[tuple[tuple[str, str], ...], list[Record]] = {}
        for job in jobs:
            others = tuple((key, value) for key, value in job.values.items() if key != SEED)
            alike.setdefault(others, []).append(job)
        return cls(tuple(jobs), tuple(Configuration(dict(others), tuple(group)) for others, group in alike.items()))

    @property
    def has_seeds(self) -> bool:
        """Whether a configuration has several jobs."""
        return any(len(configuration.jobs) > 1 for configuration in self.configurations)

    @property
    def swept(self) -> list[str]:
        """The swept keys besides the seed."""
        return list({key: None for configuration in self.configurations for key in configuration.values})

    @property
    def measure(self) -> str:
        """The metric by which all finished jobs are judged; empty if there is no such metric."""
        measures = {job.measure for job in self.jobs if job.state == "finished"}
        return measures.pop() if len(measures) == 1 else ""

    @property
    def compares(self) -> bool:
        """Whether the measure of all finished jobs was measured on the same."""
        return bool(self.measure) and len({job.measured_on for job in self.jobs if job.state == "finished"}) == 1

    @property
    def higher(self) -> bool:
        """Whether a higher value of the measure is better."""
        return any(job.higher for job in self.jobs if job.measure == self.measure)

    @cached_property
    def ranked(self) -> list[Configuration]:
        """The configurations that compare, the best one first: by the median, then by the mean over seeds."""
        complete = [each for each in self.configurations if each.is_complete] if self.compares else []
        return sorted(complete, key=self._place)

    def _place(self, configuration: Configuration) -> tuple[float, float]:
        own, sign = configuration.metrics[self.measure], -1.0 if self.higher else 1.0
        return sign * own.median, sign * own.mean

    @property
    def best(self) -> Configuration | None:
        """The best of two or more configurations that compare; None if the first two are equal."""
        first = self.ranked[:2]
        return first[0] if len(first) == 2 and self._place(first[0]) < self._place(first[1]) else None

    def notes(self) -> list[str]:
        """Return what must be said beside the table: how the best was chosen, what separates it, and what is missing."""
        return [*self._on_best(), *self._on_intervals(), *self.on_jobs()]

    def on_jobs(self) -> list[str]:
        """Return what must be said of single jobs: which collapsed, and what is missing."""
        return [*self._on_collapse(), *self._on_what_is_missing()]

    def _on_best(self) -> Iterator[str]:
        if self.best is None:
            if len(self.configurations) > 1 and (reason := self._incomparable()) is not None:
                yield f"no configuration is the best: {reason}"
            return
        second, direction = self.ranked[1], "highest" if self.higher else "lowest"
        over = " over its seeds, then of the mean," if self.has_seeds else ""
        middle = "median" if self.has_seeds else "value"
        value = self.best.metrics[self.measure].median
        yield f"* the best by {self.measure}: {self.best}, {middle} {value:.4f}"
        yield (
            f"the rule: the {direction} {middle} of {self.measure}{over} of {len(self.ranked)} configurations all of whose runs "
            "finished. Validation alone chose it, so that its value there is too good: report one on examples that chose nothing"
        )
        yield from self._on_separation(self.best, second)

    def _on_separation(self, best: Configuration, second: Configuration) -> Iterator[str]:
        first, other = best.by_seed, second.by_seed
        differences = [first[seed] - other[seed] for seed in first if seed in other]
        if len(differences) < 2:
            return
        low, high = mean_interval(differences)
        verdict = "they separate the two" if low > 0 or high < 0 else "they do not separate the two"
        if len(differences) < ENOUGH:
            verdict += ", as far as so few seeds tell"
        yield (
            f"the next one is {second}; over {counted(len(differences), 'seed')} the mean difference is "
            f"{statistics.fmean(differences):+.4f} (interval {low:+.4f} to {high:+.4f}): {verdict}"
        )

    def _incomparable(self) -> str | None:
        """Return why configurations do not compare; None where none has anything to compare."""
        if all(job.state != "finished" for job in self.jobs):
            return None
        if not self.compares:
            return (
                "they were measured by different metrics, on different examples, or with different objectives, teachers or tokens"
            )
        if len(self.ranked) > 1:
            return f"median and mean of {self.ranked[0]} and of {self.ranked[1]} are equal"
        return f"all runs of {counted(len(self.ranked), 'configuration')} finished, and two are needed"

    def _on_intervals(self) -> Iterator[str]:
        most = max((len(each.finished) for each in self.configurations), default=0)
        if most > 1:
            narrow = f"; of fewer than {ENOUGH} seeds it is too narrow" if self._fewest() < ENOUGH else ""
            yield (
                f"std: sample standard deviation over seeds; low and high: {LEVEL:.0%} interval of the mean, percentile "
                f"bootstrap of {RESAMPLES:,} resamples{narrow}"
            )

    def _fewest(self) -> int:
        return min(len(each.finished) for each in self.configurations if len(each.finished) > 1)

    def _on_collapse(self) -> Iterator[str]:
        if count := sum(job.collapsed is True for job in self.jobs if job.state == "finished"):
            runs = "1 run" if count == 1 else f"{count} runs"
            yield f"{runs} collapsed: every held-out example got the same answer"

    def _on_what_is_missing(self) -> Iterator[str]:
        for job in self.jobs:
            values = in_words(job.values)
            if job.state == "waiting":
                yield f"job {job.number} ({values}) was not begun"
            elif job.state != "finished":
                reason = f": {job.reason}" if job.reason else ""
                code = "" if job.exit_code is None else f" with exit code {job.exit_code}"
                yield f"job {job.number} ({values}) {job.state}{code}{reason}"
            elif job.value is None and job.measure:
                yield f"job {job.number} ({values}) has no {job.measure}: it is undefined for its answers"
        if any(job.state != "finished" for job in self.jobs):
            yield "the same command again runs what is missing"


def in_words(values: Mapping[str, str]) -> str:
    """Return swept keys with their values as on the command line, with secrets masked."""
    return " ".join(f"{key}={value}" for key, value in zip(values, shown_values(values, list(values)), strict=True))


def states(jobs: Iterable[Record]) -> str:
    """Return how many jobs there are, and in which states if these differ: ``6 jobs: 5 finished, 1 failed``."""
    jobs = list(jobs)
    counts = {state: sum(job.state == state for job in jobs) for state in dict.fromkeys(job.state for job in jobs)}
    told = "" if counts.keys() <= {"finished"} else ": " + ", ".join(f"{count} {state}" for state, count in counts.items())
    return f"{counted(len(jobs), 'job')}{told}"
