"""Child processes: starting them with a planned fault, and waiting for those that may leave children behind."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.process import BaseProcess

import psutil

from plmtrain import faults, stopping
from plmtrain.errors import PlmtrainError


def in_child(work: Callable[[], object], fault: str = "") -> BaseProcess:
    """Forked, so that nothing is imported again; errors of ours become their exit codes."""

    def run() -> None:
        faults.plan(fault)
        stopping.watch()
        try:
            work()
        except PlmtrainError as error:
            os._exit(error.exit_code)
        os._exit(0)

    child = multiprocessing.get_context("fork").Process(target=run)
    child.start()
    return child


def wait_for(children: Sequence[BaseProcess], seconds: float) -> None:
    """Wait until all children have ended, and kill those that have not by then.

    ``BaseProcess.join`` with a time limit waits for the end of a pipe that grandchildren hold open, too.

    Raises:
        AssertionError: if one had to be killed.
    """
    end = time.monotonic() + seconds
    while any(child.exitcode is None for child in children) and time.monotonic() < end:
        time.sleep(0.005)
    hanging = [child for child in children if child.exitcode is None]
    for child in hanging:
        assert child.pid is not None
        os.kill(child.pid, signal.SIGABRT)  # pytest's fault handler, which a forked child has, too, prints where it hangs
        child.join(2)
        child.kill()
    assert not hanging, "a child hangs"


def is_alive(process: psutil.Process) -> bool:
    """Return whether a process runs; one that has ended and that nobody has waited for does not."""
    with suppress(psutil.NoSuchProcess):
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    return False
