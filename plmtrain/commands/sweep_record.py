"""What became of the jobs of a sweep: a small file for each, and one table of them all."""

from __future__ import annotations

import csv
import io
import json
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


def final_metrics(records: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """The last ``loss`` and the last of each ``val/`` metric of a run's metrics.jsonl."""
    found: dict[str, float] = {}
    for record in records:
        for key, value in record.items():
            if (key == "loss" or key.startswith("val/")) and isinstance(value, (int, float)):
                found[key] = float(value)
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
    console = Console()
    (console if console.is_terminal else Console(width=1000)).print(table)
