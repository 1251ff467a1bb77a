"""How much memory there is, and the most that this process used. Torch is imported for a GPU's memory only."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from plmtrain import limits

if TYPE_CHECKING:
    import torch

_OWN = Path("/proc/self")


def available(device: torch.device) -> int | None:
    """Return the bytes that can still be allocated on a device, including those that torch reserves without using them; None if
    unknown."""
    if device.type == "cuda":
        import torch

        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return limits.memory()


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
