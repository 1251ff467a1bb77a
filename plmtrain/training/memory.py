"""How much memory there is, and the most that this process used. Torch is imported for a GPU's memory only."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_GROUPS = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self")


def available(device: torch.device) -> int | None:
    """Return the bytes that can still be allocated on a device, including those that torch reserves without using them; None if
    unknown."""
    if device.type == "cuda":
        import torch

        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return available_to_processes()


def available_to_processes() -> int | None:
    """Return the bytes of the machine's available memory, or of the container's limit where that is lower; None if unknown."""
    return min((bytes_ for bytes_ in (_of_machine(), _of_container()) if bytes_ is not None), default=None)


def _of_machine() -> int | None:
    with suppress(OSError, StopIteration, ValueError):
        return next(_field(line) for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemAvailable"))
    return None


def _of_container() -> int | None:
    """Read the control group's limit (version 2, else 1): cached file contents do not count as used."""
    for limit, taken, statistics, cached in (
        ("memory.max", "memory.current", "memory.stat", "inactive_file"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat", "total_inactive_file"),
    ):
        with suppress(OSError, ValueError):  # ValueError: "max", which is no limit
            most = int((_GROUPS / limit).read_text())
            lines = (line.split() for line in (_GROUPS / statistics).read_text().splitlines())
            files = next((int(count) for name, count in lines if name == cached), 0)
            return max(0, most - int((_GROUPS / taken).read_text()) + files)
    return None


def _field(line: str) -> int:
    return int(line.split()[1]) * 1024


def taken(device: torch.device) -> int | None:
    """Return the bytes that this process uses now; None if unknown."""
    if device.type == "cuda":
        import torch

        return torch.cuda.memory_allocated(device)
    return _status("VmRSS")


def forget_peak(device: torch.device) -> None:
    """Measure the peak from now on."""
    if device.type == "cuda":
        import torch

        torch.cuda.reset_peak_memory_stats(device)
    elif sys.platform.startswith("linux"):
        with suppress(OSError):
            (_OWN / "clear_refs").write_text("5")


def peak(device: torch.device) -> int | None:
    """Return the peak of bytes used since ``forget_peak``, or since the start where that has no effect; None if unknown."""
    if device.type == "cuda":
        import torch

        return torch.cuda.max_memory_allocated(device)
    return _status("VmHWM")


def _status(name: str) -> int | None:
    with suppress(OSError, StopIteration, ValueError):
        return next(_field(line) for line in (_OWN / "status").read_text().splitlines() if line.startswith(f"{name}:"))
    return None
