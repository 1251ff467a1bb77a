"""Stopping at a safe point: a signal sets a flag, which long loops check where nothing can be lost.

The command line calls ``watch`` before anything else. A signal that comes while a process is being started would still kill it,
so children of plmtrain's are started with these signals blocked (``held``): they arrive once the child watches.

Python runs a signal's handler between two of its own instructions, and a whole backward pass is one of them: half a minute on a
slow machine. Each signal therefore also wakes a thread, which says at once what is awaited, and ends the process at the second
one, or at the first where nothing can be lost.
"""

from __future__ import annotations

import fcntl
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from plmtrain.errors import Stopped

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
AGAIN = "run the same command again"
"""The advice after a stop of work that begins anew, or that keeps by itself what it has done."""

_requested: signal.Signals | None = None
_heard: signal.Signals | None = None
_announced = False
_loses_nothing = False
_listener: int | None = None  # the process whose thread hears signals


def _next_safe_point() -> str:
    return "at the next safe point"


_awaited: Callable[[], str] = _next_safe_point
_last_act: Callable[[signal.Signals], str] | None = None
_answering = threading.Lock()
_ending = threading.Lock()


def _request(number: int, frame: FrameType | None) -> None:
    """Handle a signal in the main thread."""
    global _requested
    name, asked_before = signal.Signals(number), _requested is not None
    if _requested is None:
        _requested = name
    if (asked_before or _loses_nothing) and number != signal.SIGUSR1:
        _end_at_once(name)
    _answer(name)


def _listen(wakened: int) -> None:
    """Hear every signal at once, in a thread of its own."""
    global _heard
    while numbers := os.read(wakened, 64):
        for number in numbers:
            if number in SIGNALS:
                name, heard_before = signal.Signals(number), _heard is not None
                _heard = _heard or name
                if (heard_before or _loses_nothing) and number != signal.SIGUSR1:
                    _end_at_once(name)
                _answer(name)


def _answer(name: signal.Signals) -> None:
    """Say once what the process waits for before it stops."""
    if _announced and _answering.acquire(blocking=False):  # never released: the answer is given once
        again = "" if name is signal.SIGUSR1 else "; again to stop at once"
        _say(f"stopping {_awaited()}{again}")


def _end_at_once(name: signal.Signals) -> None:
    """End the process, which was asked twice or writes nothing. Files are replaced by renaming, so even the second signal loses
    nothing that was saved."""
    if not _ending.acquire(blocking=False):
        threading.Event().wait()  # the other thread is ending the process
    if _loses_nothing:
        _say(f"stopped by {name.name}\n{AGAIN}")
    elif _last_act is not None:
        with suppress(Exception):
            _say(_last_act(name))
    os._exit(Stopped.exit_code)


def _say(line: str) -> None:
    """Print a line on standard error, without Python's buffers, in which the interrupted thread may be."""
    with suppress(OSError):
        os.write(2, f"\n{line}\n".encode("ascii", "backslashreplace"))


def watch() -> None:
    """Let TERM, INT and USR1 request a stop from now on; the second TERM or INT ends the process at once."""
    if threading.current_thread() is threading.main_thread():
        for number in SIGNALS:
            signal.signal(number, _request)
        if _listener != os.getpid():
            _start_listening()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def _start_listening() -> None:
    global _listener
    _listener = os.getpid()
    wakened, waker = map(_beside_the_streams, os.pipe())
    os.set_blocking(waker, False)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    threading.Thread(target=_listen, args=(wakened,), name="signals", daemon=True).start()


def _beside_the_streams(descriptor: int) -> int:
    """Return a descriptor above those of the standard streams: where these are closed, a new one takes a place of theirs, and
    what the process prints would arrive as signals."""
    if descriptor > 2:
        return descriptor
    moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 3)
    os.close(descriptor)
    return moved


def ignore() -> None:
    """Ignore TERM, INT and USR1 from now on: for a child that its parent ends."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


@contextmanager
def held(*others: signal.Signals) -> Iterator[None]:
    """Hold back TERM, INT and USR1 inside the ``with``; children that are started there get them when they ``watch``.

    Args:
        others: further signals, which each child lets through itself.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (*SIGNALS, *others))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def ending_at_once() -> Iterator[None]:
    """Let the first TERM or INT end the process inside the ``with``: for work that writes nothing, in which a single call of a
    library may take minutes."""
    global _loses_nothing
    safe_point()
    _loses_nothing = True
    try:
        yield
    finally:
        _loses_nothing = False


def announce(announced: bool) -> None:
    """Set whether a line answers a signal; of several processes that train together, one is enough."""
    global _announced
    _announced = announced


def _leave_to_parent() -> None:
    """In a forked child: its signals are no longer those of the parent, whose thread would hear them."""
    if threading.current_thread() is threading.main_thread():
        signal.set_wakeup_fd(-1)


os.register_at_fork(after_in_child=_leave_to_parent)


def until(awaited: Callable[[], str]) -> None:
    """Set what the process waits for before it stops, in words that follow "stopping"; another thread may call it."""
    global _awaited
    _awaited = awaited


def before_the_end(act: Callable[[signal.Signals], str]) -> None:
    """Set what is done before the process ends at once: it writes what must be written, and returns a line for the user."""
    global _last_act
    _last_act = act


def requested() -> signal.Signals | None:
    """Return the signal that requested a stop, if there was one."""
    return _requested


def forget() -> None:
    """Withdraw a stop: for processes that continue after one, as in the tests."""
    global _requested, _heard, _answering, _ending, _last_act
    _requested = _heard = _last_act = None
    _answering, _ending = threading.Lock(), threading.Lock()


def safe_point() -> None:
    """Mark a point where stopping loses nothing.

    Raises:
        Stopped: if a signal requested it.
    """
    if _requested is not None:
        raise stopped()


def stopped(kept: str = "", remedy: str = AGAIN) -> Stopped:
    """Return the error that reports the stop.

    Args:
        kept: what is saved.
        remedy: what to do then.
    """
    name = _requested.name if _requested is not None else "a signal"
    return Stopped(f"stopped by {name}", kept, remedy)
