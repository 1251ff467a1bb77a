"""The jobs of a sweep: a small file for each, and one table of all. Statistics over their seeds are in ``sweep_summary``."""

from __future__ import annotations

import csv
import io
import math
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

_COLOURS = {"finished": "green", "failed": "red", "stopped": "yellow"}


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
        measure: the metric by which its run is judged; empty if that is unknown.
        higher: whether a higher value of it is better.
        measures: the metrics of its task, where a higher value of all is better.
        measured_on: a digest of what it was measured on: values of jobs compare if it is the same.
        collapsed: whether the run gives all held-out examples the same answer; None if that is unknown.
    """

    job: int
    values: Mapping[str, str]
    run: str = ""
    state: str = "waiting"
    exit_code: int | None = None
    reason: str = ""
    seconds: float = 0.0
    metrics: Mapping[str, float] = field(default_factory=dict)
    measure: str = ""
    higher: bool = False
    measures: tuple[str, ...] = ()
    measured_on: str = ""
    collapsed: bool | None = None

    @property
    def value(self) -> float | None:
        """The value of its measure, if it finished and the measure is defined."""
        return self.metrics.get(self.measure) if self.state == "finished" else None

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


def _columns(records: Sequence[Record], fixed: str) -> list[str]:
    columns = {key: None for record in records for key in getattr(record, fixed)}
    return list(columns) if fixed == "values" else sorted(columns)


def shown_values(values: Mapping[str, str], swept: Sequence[str]) -> list[str]:
    """Return the values of swept keys in order, with secrets masked; empty where a job has none."""
    return [str(redact({key: values.get(key, "")})[key]) for key in swept]


def write_csv(records: Sequence[Record], path: Path) -> None:
    """Write the table for programs, with all digits of every number."""
    swept, measured = _columns(records, "values"), _columns(records, "metrics")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["job", *swept, "state", "exit_code", *measured, "seconds", "run", "reason"])
    for record in records:
        values = shown_values(record.values, swept)
        numbers = [record.metrics.get(key, "") for key in measured]
        code = "" if record.exit_code is None else record.exit_code
        writer.writerow(
            [record.number, *values, record.state, code, *numbers, f"{record.seconds:.1f}", record.run, record.reason]
        )
    write_text_atomically(path, text.getvalue())


def print_table(records: Sequence[Record], title: str, best: Sequence[Record] = ()) -> None:
    """Print the table for people.

    Args:
        records: the jobs.
        title: a line above it.
        best: those that are marked.
    """
    swept, measured = _columns(records, "values"), _columns(records, "metrics")
    table = Table("job", *map(escape, swept), "state", "exit", *measured, "run")
    for record in records:
        values = [escape(text) for text in shown_values(record.values, swept)]
        numbers = [f"{record.metrics[key]:.4f}" if key in record.metrics else "" for key in measured]
        code = "" if record.exit_code is None else str(record.exit_code)
        number, style = (f"{record.number} *", "bold") if record in best else (str(record.number), None)
        state = f"[{_COLOURS.get(record.state, 'white')}]{record.state}[/]"
        table.add_row(number, *values, state, code, *numbers, escape(record.run), style=style)
    tell(title)
    tell_whole(table)
