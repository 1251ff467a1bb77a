"""The table of a sweep's configurations: for people, and as CSV, JSON and Markdown."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from plmtrain.console import tell, tell_whole
from plmtrain.files import write_json_atomically, write_text_atomically
from plmtrain.study.suite_summary import Suite
from plmtrain.study.sweep_record import print_table, shown_values, write_csv
from plmtrain.study.sweep_summary import SEED, Configuration, Statistics, Summary, states

TABLE, SUMMARY, SUITE = "table.csv", "summary", "suite.csv"

_COLUMNS = ("mean", "std", "median", "low", "high")
"""The statistics of a metric, in the order of their columns."""


def publish(summary: Summary, folder: Path) -> None:
    """Write all files of a sweep's table into its folder: the jobs, and the configurations as CSV, JSON and Markdown."""
    write_csv(summary.jobs, folder / TABLE)
    write_text_atomically(folder / f"{SUMMARY}.csv", as_csv(summary))
    write_json_atomically(folder / f"{SUMMARY}.json", as_json(summary))
    write_text_atomically(folder / f"{SUMMARY}.md", as_markdown(summary))
    if (suite := Suite.of(summary.jobs)) is not None:
        write_text_atomically(folder / SUITE, suite.as_csv())


def tell_summary(summary: Summary, folder: Path) -> None:
    """Print the one table in which a sweep ends: of configurations if there are several seeds, else of jobs."""
    title = f"{states(summary.jobs)}, {folder / TABLE}"
    if (suite := Suite.of(summary.jobs)) is not None:
        tell(title)
        tell_whole(_table(suite))
        tell(*suite.notes(), *summary.on_jobs(), f"{folder / SUMMARY}.csv, .json, .md, {folder / SUITE}")
        return
    if not summary.has_seeds:
        print_table(summary.jobs, title, [] if summary.best is None else summary.best.jobs)
    else:
        headings, *rows = _cells(summary)
        table = Table(*map(escape, headings))
        for configuration, row in zip(summary.configurations, rows, strict=True):
            table.add_row(*map(escape, row), style="bold" if configuration is summary.best else None)
        tell(title)
        tell_whole(table)
    tell(*summary.notes(), f"{folder / SUMMARY}.csv, .json, .md")


def _table(suite: Suite) -> Table:
    headings, *rows = suite.cells()
    table = Table(*map(escape, headings))
    for row in rows:
        table.add_row(*map(escape, row))
    return table


def as_csv(summary: Summary) -> str:
    """Return a row for each configuration, with all statistics of all metrics and all digits of every number."""
    measured = _measured(summary)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    columns = [f"{name} {column}" for name in measured for column in _COLUMNS]
    writer.writerow([*summary.swept, "best", "jobs", "finished", "collapsed", *columns])
    for configuration in summary.configurations:
        numbers = [number for name in measured for number in _numbers(configuration.metrics.get(name))]
        counts = [len(configuration.jobs), len(configuration.finished), configuration.collapsed]
        best = int(configuration is summary.best)
        cells = [*shown_values(configuration.values, summary.swept), best, *counts, *numbers]
        writer.writerow(["" if cell is None else cell for cell in cells])
    return text.getvalue()


def as_json(summary: Summary) -> dict[str, Any]:
    """Return the same as an object, with the values of the measure by seed, and the notes."""
    best = summary.best
    return {
        "measure": summary.measure or None,
        "higher_is_better": summary.higher if summary.measure else None,
        "best": None if best is None else _values(best),
        "configurations": [_configuration(each) for each in summary.configurations],
        "notes": summary.notes(),
        **({} if (suite := Suite.of(summary.jobs)) is None else {"suite": suite.as_json()}),
    }


def _configuration(configuration: Configuration) -> dict[str, Any]:
    return {
        "values": _values(configuration),
        "jobs": len(configuration.jobs),
        "finished": len(configuration.finished),
        "collapsed": configuration.collapsed,
        "runs": {job.values.get(SEED, ""): job.run for job in configuration.jobs},
        "by_seed": configuration.by_seed,
        "metrics": {name: asdict(own) for name, own in configuration.metrics.items()},
    }


def as_markdown(summary: Summary) -> str:
    """Return the table that is printed, with the notes below it."""
    suite = Suite.of(summary.jobs)
    parts = [] if suite is None else [*_lines(suite.cells()), "", *(f"- {note}" for note in suite.notes()), ""]
    notes = summary.notes() if suite is None else summary.on_jobs()
    parts += [*_lines(_cells(summary)), "", *(f"- {note.removeprefix('* ')}" for note in notes)]
    return "\n".join([states(summary.jobs), "", *parts]) + "\n"


def _lines(cells: Iterator[list[str]]) -> list[str]:
    """Return the lines of a table in Markdown, given its headings and its rows."""
    headings, *rows = cells
    lines = [headings, ["---"] * len(headings), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]


def _cells(summary: Summary) -> Iterator[list[str]]:
    """Yield the headings and the rows of the printed table: the measure in full, mean and deviation of the other
    metrics, and the terms of the loss in the files alone."""
    first = [summary.measure] if summary.measure else []
    others = [name for name in _measured(summary) if name not in first and name.startswith("val/") and name.count("/") == 1]
    known = ["collapsed"] if any(configuration.collapsed is not None for configuration in summary.configurations) else []
    yield ["", *summary.swept, "runs", *known, *(f"{name} {column}" for name in first for column in _COLUMNS), *others]
    for configuration in summary.configurations:
        jobs, finished = len(configuration.jobs), len(configuration.finished)
        collapsed = ["" if configuration.collapsed is None else str(configuration.collapsed)] if known else []
        yield [
            "*" if configuration is summary.best else "",
            *shown_values(configuration.values, summary.swept),
            str(jobs) if finished == jobs else f"{finished} of {jobs}",
            *collapsed,
            *(_shown(number) for name in first for number in _numbers(configuration.metrics.get(name))),
            *(_spread(configuration.metrics.get(name)) for name in others),
        ]


def _measured(summary: Summary) -> list[str]:
    return sorted({name for configuration in summary.configurations for name in configuration.metrics})


def _values(configuration: Configuration) -> dict[str, str]:
    keys = list(configuration.values)
    return dict(zip(keys, shown_values(configuration.values, keys), strict=True))


def _numbers(own: Statistics | None) -> Sequence[float | None]:
    """Return the statistics in the order of their columns."""
    if own is None:
        return [None] * len(_COLUMNS)
    low, high = own.interval or (None, None)
    return [own.mean, own.deviation, own.median, low, high]


def _shown(number: float | None) -> str:
    return "" if number is None else f"{number:.4f}"


def _spread(own: Statistics | None) -> str:
    """Return mean and deviation in a cell."""
    if own is None:
        return ""
    return f"{own.mean:.4f}" if own.deviation is None else f"{own.mean:.4f} ± {own.deviation:.4f}"
