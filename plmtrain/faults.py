"""Injected faults, for the tests of what a run survives.

``PLMTRAIN_FAULT="POINT[@STEP][:ACTION]"`` is only read if ``PLMTRAIN_TESTING=1``; otherwise a point costs one comparison. Several
faults are separated by commas. Without an action the process is killed.
"""

from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Callable


def _raise_os_error(number: int) -> Callable[[], None]:
    def act() -> None:
        raise OSError(number, os.strerror(number))

    return act


def _signal(number: signal.Signals) -> Callable[[], None]:
    return lambda: os.kill(os.getpid(), number)


def _raise() -> None:
    raise RuntimeError("a fault on purpose")


def _hang() -> None:
    time.sleep(3600)


def _poison_rng() -> None:
    import random

    import numpy as np
    import torch

    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


_ACTIONS: dict[str, Callable[[], None]] = {
    "kill9": _signal(signal.SIGKILL),
    "term": _signal(signal.SIGTERM),
    "usr1": _signal(signal.SIGUSR1),
    "int": _signal(signal.SIGINT),
    "stop": _signal(signal.SIGSTOP),
    "raise": _raise,
    "enospc": _raise_os_error(errno.ENOSPC),
    "eio": _raise_os_error(errno.EIO),
    "erofs": _raise_os_error(errno.EROFS),
    "hang": _hang,
    "poison_rng": _poison_rng,
}


def _parse(text: str) -> list[tuple[str, int | None, str]]:
    faults = []
    for fault in filter(None, text.split(",")):
        place, _, action = fault.partition(":")
        point, _, step = place.partition("@")
        faults.append((point, int(step) if step else None, action or "kill9"))
    return faults


_faults = _parse(os.environ.get("PLMTRAIN_FAULT", "")) if os.environ.get("PLMTRAIN_TESTING") == "1" else []


def plan(text: str) -> None:
    """Replace the planned faults, as the tests' forked children do."""
    global _faults
    _faults = _parse(text)


def wanted(point: str, step: int | None = None) -> str | None:
    """Return the action planned for this point, if any: for actions that only the caller can take (nan, inf, spike, oom)."""
    for name, at, action in _faults:
        if name == point and at in (None, step):
            return action
    return None


def fault_point(point: str, step: int | None = None) -> None:
    """Carry out the fault planned for this point, if any.

    Args:
        point: the name of the place, such as ``save.rename``.
        step: the training step there, if there is one.
    """
    if _faults and (action := wanted(point, step)) in _ACTIONS:
        _ACTIONS[action]()
        # If it were reached again, a point that sends a signal would send a second one, which means "at once".
        _faults[:] = [fault for fault in _faults if fault[0] != point or fault[1] not in (None, step)]
