"""The results of a sweep's jobs: a small file for each, and one table of all."""

from __future__ import annotations

import csv
import io
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from plmtrain.console import tell, tell_whole
from plmtrain.files import write_json_atomically, write_text_atomically
from plmtrain.json_files import DamagedJson, read_record
from plmtrain.redaction import redact
from plmtrain.settings.lookup import task_classes


@dataclass(frozen=True)
class Record:
    """The record of one job.

    Args:
        job: its index in Hydra's order, counted from 0.
        values: the swept keys with their values, as text.
        run: the folder of its run.
        state: ``waiting`` if it has not begun, ``running``, ``finished``, ``failed`` or ``stopped``.
        exit_code: of its process, once it ended.
        reason: why it did not finish.
        seconds: the duration of its process; 0 if another command ran it.
        metrics: the last training loss, and the last value of each validation metric.
    """

    job: int
    values: Mapping[str, str]
    run: str = ""
    state: str = "waiting"
    exit_code: int | None = None
    reason: str = ""
    seconds: float = 0.0
    metrics: Mapping[str, float] = field(default_factory=dict)

    @property
    def number(self) -> int:
        """Its number for users, counted from 1."""
        return self.job + 1

    def write(self, path: Path) -> None:
        """Write it to a file, with secrets masked."""
        write_json_atomically(path, redact(asdict(self)))


def read_records(folder: Path) -> list[Record]:
    """Return the records in a folder, by number; unreadable ones are omitted."""
    records = []
    for path in folder.glob("*.json"):
        try:
            records.append(read_record(path, Record))
        except (OSError, DamagedJson):
            continue
    return sorted(records, key=lambda record: record.job)


def final_metrics(records: Iterable[Mapping[str, Any]], step: int | None = None) -> dict[str, float]:
    """Return the last ``loss`` and the last value of each ``val/`` metric of a run's metrics.jsonl, those that are finite.

    Args:
        records: its lines.
        step: use the ``val/`` metrics after this step instead of the last.
    """
    metrics: dict[str, float] = {}
    for record in records:
        for key, value in record.items():
            wanted = key == "loss" or (key.startswith("val/") and step in (None, record.get("step")))
            if wanted and isinstance(value, (int, float)):
                metrics[key] = float(value)
    return {key: value for key, value in metrics.items() if math.isfinite(value)}


@dataclass(frozen=True)
class Spread:
    """The mean and the spread of jobs that differ only in their seed.

    Args:
        values: the other swept keys with their values.
        seeds: the number of jobs.
        mean: of each metric that all of them have.
        deviation: its sample standard deviation.
    """

    values: Mapping[str, str]
    seeds: int
    mean: Mapping[str, float]
    deviation: Mapping[str, float]


def spreads(records: Sequence[Record]) -> list[Spread]:
    """Return mean and spread over seeds for every group of two or more finished jobs that differ in nothing else."""
    alike: dict[tuple[tuple[str, str], ...], list[Record]] = {}
    for record in records:
        if "seed" in record.values and record.state == "finished":
            others = tuple((key, value) for key, value in record.values.items() if key != "seed")
            alike.setdefault(others, []).append(record)
    spreads_over_seeds = []
    for others, jobs in alike.items():
        if len(jobs) > 1:
            numbers = {key: [job.metrics.get(key) for job in jobs] for key in sorted(jobs[0].metrics)}
            complete = {key: [value for value in values if value is not None] for key, values in numbers.items()}
            complete = {key: values for key, values in complete.items() if len(values) == len(jobs)}
            mean = {key: statistics.fmean(values) for key, values in complete.items()}
            deviation = {key: statistics.stdev(values) for key, values in complete.items()}
            spreads_over_seeds.append(Spread(dict(others), len(jobs), mean, deviation))
    return spreads_over_seeds


def _columns(records: Sequence[Record], fixed: str) -> list[str]:
    columns = {key: None for record in records for key in getattr(record, fixed)}
    return list(columns) if fixed == "values" else sorted(columns)


def write_csv(records: Sequence[Record], path: Path) -> None:
    """Write the table for programs, with all digits of every number."""
    swept, measured = _columns(records, "values"), _columns(records, "metrics")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["job", *swept, "state", "exit_code", *measured, "seconds", "run", "reason"])
    for record in records:
        values = [redact({key: record.values.get(key, "")})[key] for key in swept]
        numbers = [record.metrics.get(key, "") for key in measured]
        code = "" if record.exit_code is None else record.exit_code
        writer.writerow(
            [record.number, *values, record.state, code, *numbers, f"{record.seconds:.1f}", record.run, record.reason]
        )
    write_text_atomically(path, text.getvalue())


def write_spreads(spread_list: Sequence[Spread], path: Path) -> None:
    """Write means and standard deviations over seeds for programs, in a separate file: the other one has one row a job."""
    swept = list({key: None for spread in spread_list for key in spread.values})
    measured = sorted({key for spread in spread_list for key in spread.mean})
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*swept, "seeds", *(f"{key} {of}" for key in measured for of in ("mean", "std"))])
    for spread in spread_list:
        values = [redact({key: spread.values.get(key, "")})[key] for key in swept]
        numbers = [of.get(key, "") for key in measured for of in (spread.mean, spread.deviation)]
        writer.writerow([*values, spread.seeds, *numbers])
    write_text_atomically(path, text.getvalue())


@dataclass(frozen=True)
class Aim:
    """The measure by which the jobs of a sweep are compared.

    Args:
        measure: its name in the metrics.
        higher: whether a higher value is better.
    """

    measure: str
    higher: bool

    @classmethod
    def of_task(cls, task: Mapping[str, Any]) -> Aim:
        """Return the measure that decides which checkpoint is the result of a fine-tuned run.

        Args:
            task: the section ``task`` of the run's ``config.yaml``: labels that were found in the data may decide the measure.

        Raises:
            KeyError: if there is no such type of task.
            pydantic.ValidationError: if these are not the settings of such a task.
        """
        settings: Any = task_classes()[str(task["type"])].model_validate(task)
        metric = str(settings.metrics[0])
        return cls(f"val/{metric}", higher=metric not in settings.lower_is_better)

    def best(self, records: Iterable[Record]) -> Record | None:
        """Return the best of two or more finished jobs that have the measure."""
        ended = [record for record in records if record.state == "finished" and self.measure in record.metrics]
        ranked = sorted(ended, key=lambda record: record.metrics[self.measure], reverse=self.higher)
        return ranked[0] if len(ranked) > 1 else None


def print_table(records: Sequence[Record], title: str, aim: Aim | None = None) -> None:
    """Print the table for people, with its best job marked.

    Args:
        records: the jobs.
        title: a line above it.
        aim: the measure by which a job is the best one; None if they do not compare.
    """
    best = None if aim is None else aim.best(records)
    swept, measured = _columns(records, "values"), _columns(records, "metrics")
    table = Table("job", *map(escape, swept), "state", "exit", *measured, "run")
    colours = {"finished": "green", "failed": "red", "stopped": "yellow"}
    for record in records:
        values = [escape(str(redact({key: record.values.get(key, "")})[key])) for key in swept]
        numbers = [f"{record.metrics[key]:.4f}" if key in record.metrics else "" for key in measured]
        colour = colours.get(record.state, "white")
        code = "" if record.exit_code is None else str(record.exit_code)
        number = f"{record.number} *" if record is best else str(record.number)
        style = "bold" if record is best else None
        table.add_row(number, *values, f"[{colour}]{record.state}[/]", code, *numbers, escape(record.run), style=style)
    for spread in spreads(records):
        table.add_section()
        for name, metrics in (("mean", spread.mean), ("std", spread.deviation)):
            values = [escape(str(redact({key: spread.values.get(key, "")})[key])) for key in swept]
            numbers = [f"{metrics[key]:.4f}" if key in metrics else "" for key in measured]
            table.add_row(name, *values, f"{spread.seeds} seeds", "", *numbers, "", style="bold")
    tell(title)
    tell_whole(table)
    if aim is not None and best is not None:
        tell(f"* the best by {aim.measure}: {best.metrics[aim.measure]:.4f}")
