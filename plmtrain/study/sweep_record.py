"""What became of the jobs of a sweep: a small file for each, and one table of them all."""

from __future__ import annotations

import csv
import io
import json
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from plmtrain.files import write_json_atomically, write_text_atomically
from plmtrain.redaction import redact


@dataclass(frozen=True)
class Record:
    """One job.

    Args:
        job: its number, counted from 0.
        values: the swept keys with their values, as text.
        run: the folder of its run.
        state: ``waiting``, ``running``, ``finished``, ``failed`` or ``stopped``.
        exit_code: as its process ended, once it did.
        reason: why it did not finish.
        seconds: how long its process took; 0 where another command ran it.
        metrics: the last training loss, and the last of each validation metric.
    """

    job: int
    values: Mapping[str, str]
    run: str = ""
    state: str = "waiting"
    exit_code: int | None = None
    reason: str = ""
    seconds: float = 0.0
    metrics: Mapping[str, float] = field(default_factory=dict)

    def write(self, path: Path) -> None:
        """Keep it, with secrets masked."""
        write_json_atomically(path, redact(asdict(self)))


def read(folder: Path) -> list[Record]:
    """The records of a folder, by number; what cannot be read is left out."""
    found = []
    for path in folder.glob("*.json"):
        try:
            found.append(Record(**json.loads(path.read_text(encoding="utf-8"))))
        except (OSError, ValueError, TypeError):
            continue
    return sorted(found, key=lambda record: record.job)


def final_metrics(records: Iterable[Mapping[str, Any]], step: int | None = None) -> dict[str, float]:
    """Return the last ``loss`` and the last of each ``val/`` metric of a run's metrics.jsonl; none that is not finite then.

    Args:
        records: its lines.
        step: take the ``val/`` metrics after this step in place of the last.
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
    """What jobs that differ in their seed alone came to together.

    Args:
        values: the other swept keys with their values.
        seeds: how many jobs there are.
        mean: of each metric that all of them have.
        deviation: its standard deviation, of a sample.
    """

    values: Mapping[str, str]
    seeds: int
    mean: Mapping[str, float]
    deviation: Mapping[str, float]


def spreads(records: Sequence[Record]) -> list[Spread]:
    """Mean and spread over seeds, wherever two or more finished jobs differ in nothing else."""
    alike: dict[tuple[tuple[str, str], ...], list[Record]] = {}
    for record in records:
        if "seed" in record.values and record.state == "finished":
            others = tuple((key, value) for key, value in record.values.items() if key != "seed")
            alike.setdefault(others, []).append(record)
    found = []
    for others, jobs in alike.items():
        if len(jobs) > 1:
            numbers = {key: [job.metrics.get(key) for job in jobs] for key in sorted(jobs[0].metrics)}
            whole = {key: [value for value in values if value is not None] for key, values in numbers.items()}
            whole = {key: values for key, values in whole.items() if len(values) == len(jobs)}
            mean = {key: statistics.fmean(values) for key, values in whole.items()}
            deviation = {key: statistics.stdev(values) for key, values in whole.items()}
            found.append(Spread(dict(others), len(jobs), mean, deviation))
    return found


def _columns(records: Sequence[Record], fixed: str) -> list[str]:
    seen = {key: None for record in records for key in getattr(record, fixed)}
    return list(seen) if fixed == "values" else sorted(seen)


def write_csv(records: Sequence[Record], path: Path) -> None:
    """The table for programs: every number whole."""
    swept, measured = _columns(records, "values"), _columns(records, "metrics")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["job", *swept, "state", "exit_code", *measured, "seconds", "run", "reason"])
    for record in records:
        values = [redact({key: record.values.get(key, "")})[key] for key in swept]
        numbers = [record.metrics.get(key, "") for key in measured]
        code = "" if record.exit_code is None else record.exit_code
        writer.writerow([record.job, *values, record.state, code, *numbers, f"{record.seconds:.1f}", record.run, record.reason])
    write_text_atomically(path, text.getvalue())


def write_spreads(found: Sequence[Spread], path: Path) -> None:
    """Means and standard deviations over seeds for programs: in a file of their own, so that the other has one row a job."""
    swept = list({key: None for spread in found for key in spread.values})
    measured = sorted({key for spread in found for key in spread.mean})
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*swept, "seeds", *(f"{key} {of}" for key in measured for of in ("mean", "std"))])
    for spread in found:
        values = [redact({key: spread.values.get(key, "")})[key] for key in swept]
        numbers = [of.get(key, "") for key in measured for of in (spread.mean, spread.deviation)]
        writer.writerow([*values, spread.seeds, *numbers])
    write_text_atomically(path, text.getvalue())


def draw(records: Sequence[Record], title: str) -> None:
    """The table for people."""
    swept, measured = _columns(records, "values"), _columns(records, "metrics")
    table = Table("job", *map(escape, swept), "state", "exit", *measured, "run", title=escape(title), title_justify="left")
    colours = {"finished": "green", "failed": "red", "stopped": "yellow"}
    for record in records:
        values = [escape(str(redact({key: record.values.get(key, "")})[key])) for key in swept]
        numbers = [f"{record.metrics[key]:.4f}" if key in record.metrics else "" for key in measured]
        colour = colours.get(record.state, "white")
        code = "" if record.exit_code is None else str(record.exit_code)
        table.add_row(str(record.job), *values, f"[{colour}]{record.state}[/]", code, *numbers, escape(record.run))
    for spread in spreads(records):
        table.add_section()
        for name, found in (("mean", spread.mean), ("std", spread.deviation)):
            values = [escape(str(redact({key: spread.values.get(key, "")})[key])) for key in swept]
            numbers = [f"{found[key]:.4f}" if key in found else "" for key in measured]
            table.add_row(name, *values, f"{spread.seeds} seeds", "", *numbers, "", style="bold")
    console = Console()
    (console if console.is_terminal else Console(width=1000)).print(table)
