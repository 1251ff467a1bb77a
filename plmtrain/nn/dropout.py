"""Dropout (Srivastava et al. 2014) from cheaply drawn random numbers.

On a CPU torch draws a full random number for every element, one after the other, which costs up to a tenth of a training
step. Here one 64-bit number serves four elements, 16 bits each. Everything comes from torch's global generator, so a seed set
before a step determines the step.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

_LEVELS = 2**16


def dropped_levels(probability: float) -> int:
    """How many of the 65,536 values of 16 random bits drop an element: the probability is rounded to that grid."""
    return round(probability * _LEVELS)


def kept(like: Tensor, probability: float) -> Tensor:
    """Which elements stay, each independently with probability 1 - dropped_levels(probability) / 65536.  # bool, as like"""
    count = like.numel()
    draws = torch.randint(-(2**63), 2**63 - 1, ((count + 3) // 4,), dtype=torch.int64).view(torch.int16)
    return (draws[:count] >= dropped_levels(probability) - _LEVELS // 2).view(like.shape)


def dropout(hidden: Tensor, probability: float, training: bool) -> Tensor:
    """Set elements to zero at random and scale the others so that the expectation stays.

    On a CPU the probability is rounded to a multiple of 1/65536 and the scale matches what it was rounded to; on other devices
    torch's own kernel is used, which is fast there.

    Args:
        hidden: any shape.
        probability: of an element's being dropped, within [0, 1).
        training: whether to drop at all.
    """
    if not training or probability == 0:
        return hidden
    if hidden.device.type != "cpu":
        return functional.dropout(hidden, probability)
    scale = _LEVELS / (_LEVELS - dropped_levels(probability))
    return hidden * kept(hidden, probability) * scale
