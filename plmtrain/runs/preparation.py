"""Progress of the preparation of text: a bar on a terminal, elsewhere a line from time to time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from plmtrain.console import QuietConsole, warn
from plmtrain.data.corpus.updates import OnUpdate, PreparationUpdate

_WORDS = {
    "wait": "waiting for another process, which prepares data in the same folder",
    "hash": "reading the sources",
    "tokenizer": "training the tokenizer",
    "encode": "encoding",
    "write": "writing",
    "pairs": "cutting pairs of segments",
}
_SECONDS = 10.0
"""The minimum time between two plain lines of a stage."""


@contextmanager
def preparation_report() -> Iterator[OnUpdate]:
    """Yield the function to which a preparation reports its progress."""
    console = QuietConsole(stderr=True)
    if console.is_terminal and not console.is_dumb_terminal:
        with _bar(console) as show:
            yield show
    else:
        yield _lines()


@contextmanager
def _bar(console: Console) -> Iterator[OnUpdate]:
    columns = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[facts]}"), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=None, facts="")

        def show(update: PreparationUpdate) -> None:
            # Without a total the bar moves to and fro; ``update`` would keep the last one.
            progress.tasks[0].total = update.total_bytes or None
            progress.update(task, description=_WORDS[update.stage], completed=update.bytes, facts=_facts(update))

        yield show


def _lines() -> OnUpdate:
    stage, reported = "", 0.0

    def show(update: PreparationUpdate) -> None:
        nonlocal stage, reported
        now = time.monotonic()
        if update.stage != stage or now - reported > _SECONDS:
            stage, reported = update.stage, now
            share = f" {update.bytes / update.total_bytes:.0%}" if update.total_bytes else ""
            warn(f"{_WORDS[update.stage]}{share}  {_facts(update)}".rstrip())

    return show


def _facts(update: PreparationUpdate) -> str:
    parts = [f"{update.documents:,} documents"] if update.documents else []
    parts += [f"{update.tokens:,} tokens"] if update.tokens else []
    return ", ".join(parts)
