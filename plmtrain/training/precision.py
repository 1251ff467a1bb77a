"""The number format of a run's matrix products."""

from __future__ import annotations

from typing import Literal

import torch

Precision = Literal["fp32", "bf16", "fp16"]

_TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def choose_precision(wanted: Literal["auto", "fp32", "bf16", "fp16"], device: torch.device) -> Precision:
    """Return the format to use; ``auto`` is bf16 where the device multiplies it in hardware, else fp32."""
    if wanted != "auto":
        return wanted
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    return "bf16" if device.type == "cpu" and _cpu_multiplies_bf16() else "fp32"


def _cpu_multiplies_bf16() -> bool:
    # These names are private in torch: if one is gone, fp32 is the safe answer.
    amx = getattr(torch.cpu, "_is_amx_tile_supported", None)
    return bool(amx is not None and amx())


def autocast(precision: Precision, device: torch.device) -> torch.autocast:
    """Return the context in which a forward pass has that precision; weights stay in fp32."""
    return torch.autocast(device.type, dtype=_TYPES[precision], enabled=precision != "fp32")
