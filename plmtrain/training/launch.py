"""Several training processes on this machine, started and ended by one parent.

The parent does not train: it forwards signals, waits for every child, leaves no orphan, and returns the exit code that they agree
on. Other launchers (torchrun, accelerate launch, srun) work as well; they set the same variables.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence

from plmtrain import child_processes, limits, stopping
from plmtrain.errors import DistributedError, MemoryExhausted, Stopped
from plmtrain.files import size_in_words
from plmtrain.training import save_request

LAUNCHER = "PLMTRAIN_LAUNCHER"
"""The variable that gives a child the process id of the plmtrain process that started it and holds the run's lock."""

GRACE = 20.0
"""Seconds that the other processes have to end after one has failed."""


def started_by_us() -> bool:
    """Return whether this is a child of ``launch_processes``."""
    return LAUNCHER in os.environ


def in_a_group() -> bool:
    """Return whether a launcher, plmtrain's or another, started this process as one of several."""
    return "RANK" in os.environ


def is_first() -> bool:
    """Return whether this is the main process of its group, or there is no group; known before the group is formed."""
    return int(os.environ.get("RANK", "0")) == 0


_LEAST = 100 * 2**20
"""The bytes of a process that has imported torch, at the least, besides what it shares with others."""


def require_room(processes: int) -> None:
    """Refuse more processes than the memory of this machine can hold, whatever they train.

    Raises:
        MemoryExhausted: if they do not fit.
    """
    needed, available = processes * _LEAST, limits.memory()
    if processes > 1 and available is not None and needed > available:
        what = f"{processes:,} processes take at least {size_in_words(needed)}, and {size_in_words(available)} are available"
        raise MemoryExhausted(what, f"setting: launch.processes={processes}", "lower launch.processes")


def launch_processes(arguments: Sequence[str], processes: int) -> int:
    """Run ``plmtrain`` with these arguments in several processes that form a group.

    Args:
        arguments: of the command line, the verb first.
        processes: how many.

    Returns:
        The exit code that the processes agree on: a cause rather than its consequence, so any other code takes precedence over 8.

    Raises:
        MemoryExhausted: if this machine cannot hold them.
    """
    require_room(processes)
    threads = max(1, limits.cores() // processes)
    shared = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(_free_port()),
        "WORLD_SIZE": str(processes),
        "LOCAL_WORLD_SIZE": str(processes),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(threads)),
        LAUNCHER: str(os.getpid()),
    }
    save_request.answered()  # one from before: nothing was trained since the last checkpoint
    with stopping.held(save_request.SIGNAL):
        children = [
            subprocess.Popen(
                [sys.executable, "-m", "plmtrain", *arguments],
                env={**child_processes.environment(), **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
                stdin=subprocess.DEVNULL,
                process_group=0,  # a terminal's Ctrl-C reaches only the parent, which forwards it: a second one means "at once"
            )
            for rank in range(processes)
        ]
    try:
        return _agreed(_wait(children))
    finally:
        for child in children:
            if child.poll() is None:
                child.kill()
                child.wait()


def _wait(children: Sequence[subprocess.Popen[bytes]]) -> list[int]:
    """Wait for all children; forward to them a stop once, and every request for a checkpoint.

    Those that run too long after another one failed are killed.
    """
    forwarded: signal.Signals | None = None
    failed_at: float | None = None
    while any(child.poll() is None for child in children):
        if stopping.requested() is not None and forwarded is None:
            forwarded = stopping.requested()
            for child in children:
                if child.poll() is None:
                    child.send_signal(forwarded or signal.SIGTERM)
        if save_request.asked():
            for child in children:
                if child.poll() is None:
                    child.send_signal(save_request.SIGNAL)
            save_request.answered()
        if failed_at is None and any(child.poll() not in (None, 0, Stopped.exit_code) for child in children):
            failed_at = time.monotonic()
        if failed_at is not None and time.monotonic() - failed_at > GRACE:
            for child in children:
                child.kill()
        time.sleep(0.05)
    return [child.wait() for child in children]


def _agreed(codes: Sequence[int]) -> int:
    """Return one code for all: a child that was killed by a signal counts as a distributed failure."""
    distinct = {code if code >= 0 else DistributedError.exit_code for code in codes} - {0}
    causes = sorted(distinct - {DistributedError.exit_code, Stopped.exit_code, 1})
    for code in (*causes, 1, DistributedError.exit_code, Stopped.exit_code):
        if code in distinct:
            return code
    return 0


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
