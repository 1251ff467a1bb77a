"""The number format of a run's matrix products."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Literal

import torch

from plmtrain.nn.bf16_products import cpu_abilities, cpu_lacks_bf16, products_of
from plmtrain.settings.trainer import WantedPrecision

Precision = Literal["fp32", "bf16", "fp16"]

_CPU_UNITS = {"amx_bf16": "AMX", "avx512_bf16": "AVX-512 BF16"}
"""The names of a CPU's instructions that multiply bf16, by torch's keys; the fastest first."""

_KINDS = {"cpu": "CPU", "cuda": "GPU"}

TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

UPDATE_TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float32}
"""The type of the matrix products of an optimiser's update: fp16 would need a scale of its own there."""


def choose_precision(wanted: WantedPrecision, device: torch.device) -> Precision:
    """Return the format to use; ``auto`` is bf16 where the device multiplies it in hardware, else fp32."""
    if wanted != "auto":
        return wanted
    return "bf16" if _bf16_units(device) else "fp32"


def precision_reason(wanted: WantedPrecision, device: torch.device) -> str:
    """Return in a few words why ``choose_precision`` returns what it does."""
    if wanted != "auto":
        widened = wanted == "bf16" and device.type == "cpu" and cpu_lacks_bf16()
        return f"trainer.precision={wanted}" + (": this CPU has no bf16, so fp32 is computed and rounded" if widened else "")
    units = _bf16_units(device)
    return f"auto: {units}" if units else f"auto: the {_KINDS[device.type]} does not multiply bf16 in hardware"


def _bf16_units(device: torch.device) -> str:
    """Return the name of the device's instructions that multiply bf16; empty if it has none."""
    if device.type == "cuda":
        return "the GPU multiplies bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else ""
    able = cpu_abilities() if device.type == "cpu" else {}
    return next((f"the CPU has {name}" for key, name in _CPU_UNITS.items() if able.get(key)), "")


@contextmanager
def autocast(precision: Precision, device: torch.device, keeps_casts: bool = True) -> Iterator[None]:
    """Return the context in which a forward pass has that precision; weights stay in fp32.

    Args:
        precision: of matrix products.
        device: where they are computed.
        keeps_casts: whether the weights in that precision are kept for a second use within the context.
    """
    casting = torch.autocast(device.type, dtype=TYPES[precision], enabled=precision != "fp32", cache_enabled=keeps_casts)
    with casting, products_of(device) if precision == "bf16" else nullcontext():
        yield
