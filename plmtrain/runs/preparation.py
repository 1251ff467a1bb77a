"""Progress of the preparation of text: a bar on a terminal, elsewhere a line from time to time."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from plmtrain.data.corpus.updates import Progress as Moment
from plmtrain.data.corpus.updates import Report

_WORDS = {
    "wait": "waiting for another process that prepares the same text",
    "hash": "reading the sources",
    "tokenizer": "training the tokenizer",
    "encode": "encoding",
    "write": "writing",
    "pairs": "cutting pairs of segments",
}
_SECONDS = 10.0
"""The minimum time between two plain lines of a stage."""


@contextmanager
def preparation_report() -> Iterator[Report]:
    """Yield the function to which a preparation reports its progress."""
    console = Console(stderr=True)
    if console.is_terminal and not console.is_dumb_terminal:
        with _bar(console) as report:
            yield report
    else:
        yield _lines()


@contextmanager
def _bar(console: Console) -> Iterator[Report]:
    columns = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[facts]}"), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=None, facts="")

        def report(moment: Moment) -> None:
            total = moment.total_bytes or None
            progress.update(task, description=_WORDS[moment.stage], completed=moment.bytes, total=total, facts=_facts(moment))

        yield report


def _lines() -> Report:
    stage, reported = "", 0.0

    def report(moment: Moment) -> None:
        nonlocal stage, reported
        now = time.monotonic()
        if moment.stage != stage or now - reported > _SECONDS:
            stage, reported = moment.stage, now
            share = f" {moment.bytes / moment.total_bytes:.0%}" if moment.total_bytes else ""
            print(f"{_WORDS[moment.stage]}{share}  {_facts(moment)}".rstrip(), file=sys.stderr, flush=True)

    return report


def _facts(moment: Moment) -> str:
    parts = [f"{moment.documents:,} documents"] if moment.documents else []
    parts += [f"{moment.tokens:,} tokens"] if moment.tokens else []
    return ", ".join(parts)
