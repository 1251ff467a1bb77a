"""``plmtrain runs diff A B``: the settings in which two runs differ, and the results of both."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from plmtrain.console import print_json, tell, tell_whole
from plmtrain.errors import SettingsError
from plmtrain.settings.decode import completed
from plmtrain.settings.identity import RESOLVED, drift
from plmtrain.study.run_records import metrics_of, read_run
from plmtrain.training.run_folder import RunFolder


def run(arguments: list[str]) -> int:
    """Print both tables; ``--json`` for programs.

    Raises:
        SettingsError: if one of the two is not a run whose settings can be read.
    """
    words = [word for word in arguments if word != "--json"]
    if len(words) != 2:
        remedy = "write: plmtrain runs diff RUN RUN"
        raise SettingsError("runs diff takes two runs", f"command line: {' '.join(arguments)}", remedy)
    first, second = map(Path, words)
    settings, results = _settings(first, second), _results(first, second)
    if "--json" in arguments:
        print_json({"runs": words, "settings": settings, "results": results})
        return 0
    shown = [
        _table("settings that differ", first, second, settings, lambda value: json.dumps(value, ensure_ascii=False)),
        _table("results", first, second, results, lambda value: f"{value:.4f}" if isinstance(value, float) else str(value)),
    ]
    for title, table in shown:
        tell(title)
        if table.row_count:
            tell_whole(table)
    return 0


def _settings(first: Path, second: Path) -> dict[str, tuple[Any, Any]]:
    """Return the settings that differ, by full key, and what the processes chose for themselves."""
    old, new = (RunFolder(folder).config() for folder in (first, second))
    changed = drift(completed(old), completed(new))
    changes = sorted((*changed.structural, *changed.trajectory, *changed.free), key=lambda change: change.key)
    chosen = [values if isinstance(values := config.get(RESOLVED), Mapping) else {} for config in (old, new)]
    resolved = {
        f"{RESOLVED}.{key}": (chosen[0].get(key), chosen[1].get(key))
        for key in sorted({*chosen[0], *chosen[1]})
        if chosen[0].get(key) != chosen[1].get(key)
    }
    return {**{change.key: (change.old, change.new) for change in changes}, **resolved}


def _results(first: Path, second: Path) -> dict[str, tuple[Any, Any]]:
    """Return the state, the steps and the final metrics of both runs."""
    records, metrics = [read_run(folder) for folder in (first, second)], [metrics_of(folder) for folder in (first, second)]
    rows: dict[str, tuple[Any, Any]] = {
        "state": (records[0].state, records[1].state),
        "step": (records[0].step, records[1].step),
    }
    return rows | {name: (metrics[0].get(name), metrics[1].get(name)) for name in sorted({*metrics[0], *metrics[1]})}


def _table(title: str, first: Path, second: Path, rows: Mapping[str, tuple[Any, Any]], shown: Any) -> tuple[str, Table]:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("", str(first), str(second)):
        table.add_column(Text(heading), overflow="fold")
    for name, values in rows.items():
        table.add_row(Text(name), *(Text("" if value is None and title == "results" else shown(value)) for value in values))
    return title if rows else f"{title}: none", table
