"""The measures of speed: the rate of the machine's matrix products, and the time since the process began."""

from __future__ import annotations

import os
import time
from pathlib import Path

import torch

from plmtrain.nn.bf16_products import products_of
from plmtrain.settings.models.base import ModelSettings
from plmtrain.training.precision import TYPES, Precision

_OF_A_BLOCK = 4
"""The usual width of a feed-forward layer, as a multiple of a model's width, where the settings have none."""
_SHORT_PRODUCT = 2 * 10**9
"""The FLOPs of a product that a CPU is measured with before a run: about ten milliseconds."""
_FEW = 20
"""The most products that are measured before a run."""


def rate_before_run(model: ModelSettings, width: int, positions: int, precision: Precision, device: torch.device) -> float:
    """Measure the rate of ``block_rate`` in about a tenth of a second; arguments as there."""
    outer = _outer(model, width)
    fewer = positions if device.type == "cuda" else max(1, min(positions, _SHORT_PRODUCT // (2 * width * outer)))
    return product_rate(fewer, width, outer, precision, device, seconds=0.05, most=_FEW)


def block_rate(model: ModelSettings, width: int, positions: int, precision: Precision, device: torch.device) -> float:
    """Measure the rate of the largest product of a block: of a micro-batch with its feed-forward layer.

    Args:
        model: the model's settings.
        width: of its hidden states.
        positions: of a micro-batch.
        precision, device: as in ``product_rate``.
    """
    return product_rate(positions, width, _outer(model, width), precision, device)


def _outer(model: ModelSettings, width: int) -> int:
    return int(getattr(model, "feed_forward", _OF_A_BLOCK * width))


def product_rate(
    rows: int,
    inner: int,
    outer: int,
    precision: Precision,
    device: torch.device,
    seconds: float = 0.5,
    most: int = 10**6,
) -> float:
    """Measure the rate of the product of two matrices.

    Args:
        rows, inner, outer: the product is [rows, inner] by [inner, outer].
        precision: of both.
        device: where it is computed, with the threads that torch has now.
        seconds: how long to measure; the fastest product counts, since others were disturbed.
        most: the most products that are computed, besides the first and the last.

    Returns:
        FLOPs a second; a multiplication and an addition count as one each.
    """
    random = torch.Generator(device).manual_seed(0)  # a run's own random numbers stay as they are
    left = torch.randn(rows, inner, device=device, dtype=TYPES[precision], generator=random)
    right = torch.randn(inner, outer, device=device, dtype=TYPES[precision], generator=random)
    best, ends = float("inf"), time.perf_counter() + seconds
    _timed(left, right)
    for _ in range(most):
        if time.perf_counter() >= ends:
            break
        best = min(best, _timed(left, right))
    return 2 * rows * inner * outer / min(best, _timed(left, right))


def _timed(left: torch.Tensor, right: torch.Tensor) -> float:
    _wait(left.device)
    began = time.perf_counter()
    with products_of(left.device):
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
