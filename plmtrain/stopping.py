"""Stopping at a safe point: a signal sets a flag, which long loops check where nothing can be lost.

The command line calls ``watch`` before anything else. A signal that comes while a process is being started would still kill it,
so children of plmtrain's are started with these signals blocked (``held``): they arrive once the child watches.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from plmtrain.errors import Stopped

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)

_requested: signal.Signals | None = None


def _request(number: int, frame: FrameType | None) -> None:
    global _requested
    if _requested is not None and number != signal.SIGUSR1:
        # Requested twice: the user does not want to wait. Files are replaced by renaming, so even this loses nothing saved.
        os._exit(Stopped.exit_code)
    _requested = signal.Signals(number)


def watch() -> None:
    """Let TERM, INT and USR1 request a stop from now on; the second TERM or INT ends the process at once."""
    if threading.current_thread() is threading.main_thread():
        for number in SIGNALS:
            signal.signal(number, _request)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def ignore() -> None:
    """Ignore TERM, INT and USR1 from now on: for a child that its parent ends."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


@contextmanager
def held() -> Iterator[None]:
    """Hold back TERM, INT and USR1 inside the ``with``; children that are started there get them when they ``watch``."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def requested() -> signal.Signals | None:
    """Return the signal that requested a stop, if there was one."""
    return _requested


def forget() -> None:
    """Withdraw a stop: for processes that continue after one, as in the tests."""
    global _requested
    _requested = None


def safe_point() -> None:
    """Mark a point where stopping loses nothing.

    Raises:
        Stopped: if a signal requested it.
    """
    if _requested is not None:
        raise stopped()


def stopped() -> Stopped:
    """Return the error that reports the stop."""
    name = _requested.name if _requested is not None else "a signal"
    return Stopped(f"stopped by {name}", "", "the same command resumes the run from here")
