"""The cores and the memory that this process may use: of the machine's, those that its control groups leave it.

A container, a job of SLURM or ``systemd-run`` is such a group. Groups lie within each other, and each may have a limit.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_GROUPS = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")
_MEMORY = Path("/proc/meminfo")


def cores() -> int:
    """Return the number of cores that this process may keep busy; a part of one counts as one."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([allowed, *map(math.ceil, _core_limits())]))


def memory() -> int | None:
    """Return the bytes of memory that are still available to processes; None if unknown."""
    return min([*_of_machine(), *_memory_limits()], default=None)


def _of_machine() -> Iterator[int]:
    with suppress(OSError, StopIteration, ValueError):
        lines = _MEMORY.read_text(encoding="ascii").splitlines()
        yield next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))


def _core_limits() -> Iterator[float]:
    for folder in _folders("cpu"):
        with suppress(OSError, ValueError):  # ValueError: "max", which is no limit
            quota, period = _read(folder / "cpu.max").split()
            yield int(quota) / int(period)
        with suppress(OSError, ValueError):
            quota, period = _read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")
            if int(quota) > 0:  # -1 is no limit
                yield int(quota) / int(period)


def _memory_limits() -> Iterator[int]:
    """Yield the bytes that each limit leaves: cached file contents do not count as used."""
    for folder in _folders("memory"):
        for limit, taken, cached in (
            ("memory.max", "memory.current", "inactive_file"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ):
            with suppress(OSError, ValueError):
                most, used = int(_read(folder / limit)), int(_read(folder / taken))
                lines = (line.split() for line in _read(folder / "memory.stat").splitlines())
                yield max(0, most - used + next((int(count) for name, count in lines if name == cached), 0))


def _folders(controller: str) -> Iterator[Path]:
    """Yield the folders of the groups that this process is in, with all groups around them: those of version 2, and of version 1
    those of a controller. In a container the path may be that outside of it, and only its last part be there, or the root."""
    with suppress(OSError, ValueError):
        for line in _read(_OWN).splitlines():
            _, controllers, path = line.split(":", 2)
            roots = [_GROUPS / controllers] if controllers else [_GROUPS, _GROUPS / "unified"]
            if not controllers or controller in controllers.split(","):
                inner = Path(path.lstrip("/"))
                yield from (root / group for root in roots for group in (inner, *inner.parents) if (root / group).is_dir())


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8")
