"""Waiting for child processes that may leave children of their own behind."""

from __future__ import annotations

import time
from collections.abc import Sequence
from multiprocessing.process import BaseProcess


def wait_for(children: Sequence[BaseProcess], seconds: float) -> None:
    """Wait until all children have ended, and kill those that have not by then.

    ``BaseProcess.join`` with a time limit waits for the end of a pipe that grandchildren hold open, too: workers that a killed
    child leaves behind look for their parent every five seconds.

    Raises:
        AssertionError: if one had to be killed.
    """
    end = time.monotonic() + seconds
    while any(child.exitcode is None for child in children) and time.monotonic() < end:
        time.sleep(0.005)
    hanging = [child for child in children if child.exitcode is None]
    for child in hanging:
        child.kill()
    assert not hanging, "a child hangs"
