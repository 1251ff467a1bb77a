"""A request for a checkpoint from outside: a signal to the process that holds a run's lock sets a flag, which the trainer reads.

It changes nothing but when a checkpoint is written. Any process of a run can get the signal; the trainer adds their flags up, so
that all save after the same step.
"""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from types import FrameType

from plmtrain.errors import SettingsError
from plmtrain.training.lock import Owner

SIGNAL = signal.SIGUSR2

_asked = False


def _request(number: int, frame: FrameType | None) -> None:
    global _asked
    _asked = True


def watch() -> None:
    """Take requests from now on, and one that was held back; without this the signal ends the process."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(SIGNAL, _request)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (SIGNAL,))


def asked() -> bool:
    """Return whether a checkpoint was requested that is not saved yet."""
    return _asked


def answered() -> None:
    """Note that the requested checkpoint is saved, or that the request was passed on."""
    global _asked
    _asked = False


def ask(owner: Owner) -> None:
    """Ask the process that trains a run for a checkpoint.

    Args:
        owner: the holder of the run's lock.

    Raises:
        SettingsError: if it lives where this process cannot reach it, or takes no requests.
    """
    if not owner.visible:
        remedy = f"run this command on {owner.host}, in the same container"
        raise SettingsError(f"the run is trained elsewhere, by {owner}", "plmtrain runs save", remedy)
    if not _takes_requests(owner.pid):
        raise SettingsError(
            f"{owner} takes no requests", "plmtrain runs save", "wait until it trains; it saves every trainer.save_every steps"
        )
    try:
        os.kill(owner.pid, SIGNAL)
    except ProcessLookupError:
        raise SettingsError(f"{owner} has just ended", "plmtrain runs save", "start the run again") from None
    except PermissionError:
        raise SettingsError(f"{owner} belongs to another user", "plmtrain runs save", "ask its owner") from None


def _takes_requests(pid: int) -> bool:
    """Return whether a process catches the signal, which would end it otherwise; True where the kernel does not tell."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        caught = next(int(line.split()[1], 16) for line in lines if line.startswith("SigCgt:"))
    except (OSError, ValueError, StopIteration, IndexError):
        return True
    return bool(caught >> (SIGNAL - 1) & 1)
