"""The measures of speed: the rate of the machine's matrix products, and the time since the process began."""

from __future__ import annotations

import os
import time
from pathlib import Path

import torch

from plmtrain.training.precision import Precision

_TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def product_rate(rows: int, inner: int, outer: int, precision: Precision, device: torch.device, seconds: float = 0.5) -> float:
    """Measure the rate of the product of two matrices.

    Args:
        rows, inner, outer: the product is [rows, inner] by [inner, outer].
        precision: of both.
        device: where it is computed, with the threads that torch has now.
        seconds: how long to measure; the fastest product counts, since others were disturbed.

    Returns:
        FLOPs a second; a multiplication and an addition count as one each.
    """
    left = torch.randn(rows, inner, device=device, dtype=_TYPES[precision])
    right = torch.randn(inner, outer, device=device, dtype=_TYPES[precision])
    best, ends = float("inf"), time.perf_counter() + seconds
    _timed(left, right)
    while time.perf_counter() < ends:
        best = min(best, _timed(left, right))
    return 2 * rows * inner * outer / min(best, _timed(left, right))


def _timed(left: torch.Tensor, right: torch.Tensor) -> float:
    _wait(left.device)
    began = time.perf_counter()
    left @ right
    _wait(left.device)
    return time.perf_counter() - began


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def process_age() -> float | None:
    """Return the seconds since this process began; None where the system does not tell."""
    try:
        own = Path("/proc/self/stat").read_text("ascii", "replace").rpartition(")")[2].split()
        up = float(Path("/proc/uptime").read_text("ascii").split()[0])
    except (OSError, ValueError, IndexError):
        return None
    return up - int(own[19]) / os.sysconf("SC_CLK_TCK")
