"""Children of every kind end at once when their parent is killed alone, in whatever they are doing."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from support.children import is_alive

from plmtrain import child_processes
from plmtrain.data.corpus import processes
from plmtrain.text import unigram

BUSY = "import time; from plmtrain import cli; cli.main = lambda: time.sleep(600); cli.console()"
"""A plmtrain process, such as a rank or a job of a sweep, that has no time to look for its parent."""

SPAWN = multiprocessing.get_context("spawn")
OURS, THEIRS = SPAWN.Pipe()
"""Both ends stay open here, so that no child is ended by the loss of its pipe."""

KINDS: dict[str, Callable[[int], object]] = {
    "plmtrain": lambda parent: subprocess.Popen([sys.executable, "-c", BUSY], env=child_processes.environment()),
    "preparing": lambda parent: SPAWN.Process(target=processes._work, args=(parent, THEIRS, len, None)).start(),
    "tokenizer": lambda parent: SPAWN.Process(target=unigram._train, args=(parent, THEIRS)).start(),
}


def outliving(work: Callable[[], object]) -> list[psutil.Process]:
    """Kill the parent of a child that is at work; return what is there of it a second later."""
    parent = multiprocessing.get_context("fork").Process(target=lambda: (work(), time.sleep(600)))
    parent.start()
    end = time.monotonic() + 60
    children: list[psutil.Process] = []
    while not children and time.monotonic() < end:
        time.sleep(0.05)
        children = [child for child in psutil.Process(parent.pid).children(recursive=True) if at_work(child)]
    parent.kill()
    assert children, "no child began"
    end = time.monotonic() + 1
    while (left := [child for child in children if is_alive(child)]) and time.monotonic() < end:
        time.sleep(0.02)
    for child in left:
        child.kill()
    return left


def at_work(child: psutil.Process) -> bool:
    """Return whether a process has passed the first lines of its program: it then ignores SIGTERM, or has a handler for it."""
    if "resource_tracker" in " ".join(child.cmdline()):
        return False
    status = Path(f"/proc/{child.pid}/status")
    if not status.exists():  # another system than Linux
        return time.time() - child.create_time() > 5
    lines = (line.partition(":") for line in status.read_text().splitlines())
    return any(int(mask, 16) >> (signal.SIGTERM - 1) & 1 for name, _, mask in lines if name in ("SigIgn", "SigCgt"))


@pytest.mark.parametrize("kind", KINDS)
def test_children_end_with_a_killed_parent(kind: str) -> None:
    assert outliving(lambda: KINDS[kind](os.getpid())) == []


def test_a_parent_that_ended_before_is_noticed() -> None:
    """Between the start of a child and its first line its parent may end."""
    program = "import sys, time; from plmtrain import child_processes; child_processes.end_with(1); time.sleep(600)"
    assert subprocess.run([sys.executable, "-c", program], timeout=60, check=False).returncode == -9
