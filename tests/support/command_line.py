"""Real command lines in children of this warmed process: what a shell would see, without two seconds of imports each."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from support import warm  # noqa: F401  (the children need it)
from support.children import wait_for

from plmtrain import cli, faults, stopping
from plmtrain.settings.composing.compose import compose
from plmtrain.settings.composing.folders import GROUPS, primary_of


@dataclass(frozen=True)
class Result:
    """What a command left.

    Args:
        code: its exit code; minus the signal's number if one killed it.
        out: what it printed.
        err: what it printed on standard error.
    """

    code: int
    out: str
    err: str


def plmtrain(
    *arguments: str, cwd: Path, fault: str = "", before: Callable[[], object] | None = None, given: Path | None = None
) -> Result:
    """Run ``plmtrain`` with these arguments in a folder, with a fault planned, and a file as standard input; ``before`` is called
    in its process at first."""
    return finish(start(*arguments, cwd=cwd, fault=fault, before=before, given=given), cwd)


def start(
    *arguments: str,
    cwd: Path,
    fault: str = "",
    name: str = "command",
    before: Callable[[], object] | None = None,
    given: Path | None = None,
) -> multiprocessing.process.BaseProcess:
    """Start a command and do not wait for it; ``finish`` does."""
    _merge_files(primary_of(arguments[0], arguments[1:]), tuple(text for text in arguments[1:] if _GROUP.fullmatch(text)))
    child = multiprocessing.get_context("fork").Process(target=_run, args=(arguments, cwd, fault, name, before, given), name=name)
    child.start()
    return child


_GROUP = re.compile(rf"({'|'.join(GROUPS)})=\w+")


@cache
def _merge_files(primary: str, groups: tuple[str, ...]) -> None:
    """Compose the choices of a command here, where its child finds the files read and merged, and the next command, too."""
    if groups:
        compose(groups, primary=primary)


def finish(child: multiprocessing.process.BaseProcess, cwd: Path) -> Result:
    """Wait for a command that was started."""
    wait_for([child], 300)
    texts = [(cwd / f".{child.name}.{stream}").read_text(errors="replace") for stream in ("out", "err")]
    return Result(child.exitcode or 0, *texts)


def _run(
    arguments: Sequence[str],
    cwd: Path,
    fault: str = "",
    name: str = "command",
    before: Callable[[], object] | None = None,
    given: Path | None = None,
) -> None:
    if given is not None:
        os.dup2(os.open(given, os.O_RDONLY), 0)
    for number, stream in ((1, "out"), (2, "err")):
        os.dup2(os.open(cwd / f".{name}.{stream}", os.O_CREAT | os.O_WRONLY | os.O_TRUNC), number)
    sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__  # not pytest's
    os.chdir(cwd)
    os.environ["OMP_NUM_THREADS"] = "1"
    sys.argv = ["plmtrain", *arguments]
    torch.set_num_threads(1)  # the threads of a pool do not survive a fork
    stopping.forget()
    faults.plan(fault)
    if before is not None:
        before()
    code = 1
    try:
        cli.console()
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    finally:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        os._exit(code)


def json_of(result: Result) -> list[dict[str, Any]]:
    """The lines of JSON that a command printed."""
    assert result.code == 0, result.err
    return [json.loads(line) for line in result.out.splitlines()]


def records(run: Path) -> list[dict[str, Any]]:
    """The metrics of a run, a line each."""
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def predictions(run: Path) -> list[dict[str, Any]]:
    """The predictions that evaluation left in a run, an example each."""
    return [json.loads(line) for line in (run / "predictions.jsonl").read_text().splitlines()]
