"""Stopping at a safe edge: a signal sets a flag, and long loops look at it where nothing can be lost."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType

from plmtrain.errors import Stopped

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)

_asked: signal.Signals | None = None


def _ask(number: int, frame: FrameType | None) -> None:
    global _asked
    if _asked is not None and number != signal.SIGUSR1:
        # Asked twice: the user does not want to wait. Files are replaced by renaming, so even this loses nothing saved.
        os._exit(Stopped.exit_code)
    _asked = signal.Signals(number)


def watch() -> None:
    """Let TERM, INT and USR1 ask for a stop from now on; the second TERM or INT ends the process at once."""
    if threading.current_thread() is threading.main_thread():
        for number in SIGNALS:
            signal.signal(number, _ask)


def asked() -> signal.Signals | None:
    """The signal that asked for a stop, if one did."""
    return _asked


def forget() -> None:
    """Take a stop back: for processes that go on after one, as the tests' do."""
    global _asked
    _asked = None


def safe_point() -> None:
    """Stand where stopping loses nothing.

    Raises:
        Stopped: if a signal asked for it.
    """
    if _asked is not None:
        raise stopped()


def stopped() -> Stopped:
    """The error that tells of the stop."""
    name = _asked.name if _asked is not None else "a signal"
    return Stopped(f"stopped by {name}", "", "the same command goes on from here")
