"""Child processes: they end when their parent does, however that ends, so that none is left over."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

from plmtrain import stopping

PARENT = "PLMTRAIN_PARENT"
"""The variable that gives a plmtrain process the id of the one that started it and waits for it."""

_POLL = 0.5
"""Seconds between two looks for the parent where the kernel does not tell of its end."""


def environment() -> dict[str, str]:
    """Return the environment of a plmtrain process that this one starts."""
    return {**os.environ, PARENT: str(os.getpid())}


def end_with_launcher() -> None:
    """End with the plmtrain process that started this one; nothing, if another program did."""
    # Removed, since it is not meant for the programs that this process starts.
    if (parent := os.environ.pop(PARENT, "")).isdecimal():
        end_with(int(parent))


def end_with(parent: int) -> None:
    """End this process when its parent ends, within a second.

    Args:
        parent: the id of the process that started this one.
    """
    if sys.platform.startswith("linux"):
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    else:
        threading.Thread(target=_wait_for_the_end_of, args=(parent,), daemon=True).start()
    if os.getppid() != parent:  # it ended before
        os.kill(os.getpid(), signal.SIGKILL)


def _wait_for_the_end_of(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_POLL)
    os.kill(os.getpid(), signal.SIGKILL)


def serve(parent: int) -> None:
    """Begin a child that only works for its parent: it ends with it, and leaves it to the parent to react to signals."""
    stopping.ignore()
    end_with(parent)
