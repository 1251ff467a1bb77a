"""The table of all runs, and the words after ``plmtrain runs``. Imports no torch."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from rich.table import Table
from rich.text import Text

from plmtrain.console import duration, print_json, tell, tell_whole
from plmtrain.errors import SettingsError
from plmtrain.files import size_in_words
from plmtrain.study.run_records import DAMAGED, KILLED, RunRecord, read_runs

ACTIONS = {"diff": "difference", "rm": "removal", "save": "saving", "sweep": "sweep"}
"""The words that do something with runs, and the module of each, which is only imported when needed."""

_COLOURS = {"finished": "green", "failed": "red", DAMAGED: "red", "stopped": "yellow", "interrupted": "yellow", KILLED: "yellow"}


def run(arguments: list[str]) -> int:
    """List the runs below a folder, or do with some of them what the first word says."""
    if arguments and arguments[0] in ACTIONS:
        act: Callable[[list[str]], int] = importlib.import_module(f"plmtrain.commands.runs.{ACTIONS[arguments[0]]}").run
        return act(arguments[1:])
    words = [word for word in arguments if word != "--json"]
    if len(words) > 1:
        remedy = f"write: plmtrain runs [RUNS_DIR], or one of {', '.join(ACTIONS)} first"
        raise SettingsError("runs takes one folder of runs", f"command line: {' '.join(words)}", remedy)
    folder = Path(words[0] if words else "runs")
    if words and not folder.is_dir():
        remedy = f"name a folder of runs, or write {', '.join(ACTIONS)} first"
        raise SettingsError(f"there is no folder {folder}", f"command line: {words[0]}", remedy)
    records = read_runs(folder)
    if "--json" in arguments:
        print_json([{**asdict(record), "path": str(record.path)} for record in records])
    elif records:
        _draw(records)
    else:
        tell(f"there are no runs in {folder}: plmtrain pretrain starts one")
    return 0


def _draw(records: Sequence[RunRecord]) -> None:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("run", "state", "step", "result", "size", "last written"):
        table.add_column(heading, overflow="fold", no_wrap=heading != "run", justify="right" if heading == "size" else "left")
    for record in records:
        step = "" if record.step is None else f"{record.step:,}" + (f" of {record.total_steps:,}" if record.total_steps else "")
        result = "" if record.value is None else f"{record.measure.removeprefix('val/')} {record.value:.4f}"
        age = duration(max(0.0, time.time() - record.updated)) + " ago" if record.updated else ""
        state = Text(record.state, _COLOURS.get(record.state, ""))
        table.add_row(str(record.path), state, step, result, size_in_words(record.size), age)
    tell_whole(table)
