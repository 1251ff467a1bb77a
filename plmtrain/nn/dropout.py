"""Dropout (Srivastava et al. 2014) from random numbers that are cheap to draw.

On a CPU torch's dropout draws a whole random number for every element, one by one, and multiplies by a mask of another type.
Here one 64-bit number serves four elements, and the mask has the elements' own type. The stream of numbers starts from a seed
that is drawn from torch's global generator, so that a seed set before a step determines the step.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

_LEVELS = 2**16


def dropped_levels(probability: float) -> int:
    """Return how many of the 65,536 values of 16 random bits drop an element: the probability is rounded to that grid."""
    return round(probability * _LEVELS)


def kept_scale(probability: float) -> float:
    """Return the factor of kept elements that preserves the expectation: exact for the rounded probability."""
    return _LEVELS / (_LEVELS - dropped_levels(probability))


def _keep(seed: Tensor, dropped: int, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """Return 1 where an element is kept and 0 where it is dropped, a function of the seed alone.

    NumPy's SFC64 takes about half the time of torch's generator.

    Args:
        seed: [] int64, not negative.
        dropped: as from ``dropped_levels``.
        shape, dtype: of the result.
    """
    count = math.prod(shape)
    numbers = np.random.SFC64(int(seed)).random_raw((count + 3) // 4)
    levels = torch.from_numpy(numbers.view(np.int16)[:count]).view(list(shape))
    return torch.ge(levels, dropped - _LEVELS // 2, out=torch.empty(list(shape), dtype=dtype))


_traceable_keep = torch.library.custom_op("plmtrain::keep", _keep, mutates_args=())
"""The same for a compiler, which cannot trace NumPy. Elsewhere it would be called through torch, which imports its compiler for
that: two seconds at the first step of every run."""


@_traceable_keep.register_fake
def _(seed: Tensor, dropped: int, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    return torch.empty(list(shape), dtype=dtype)


def kept(like: Tensor, probability: float) -> Tensor:
    """Return 1 where an element is kept and 0 where it is dropped, with probability dropped_levels(probability) / 65536.

    Args:
        like: on a CPU; the shape and type of the result.
        probability: within [0, 1).
    """
    draw: Callable[..., Tensor] = _traceable_keep if torch.compiler.is_compiling() else _keep
    return draw(torch.randint(2**63 - 1, ()), dropped_levels(probability), like.shape, like.dtype)


def dropout(hidden: Tensor, probability: float, training: bool) -> Tensor:
    """Set elements to zero at random and scale the others so that the expectation is preserved.

    On a CPU the probability is rounded to a multiple of 1/65536, and the scale matches the rounded value; on other devices
    torch's own kernel is used.

    Args:
        hidden: any shape.
        probability: of dropping an element, within [0, 1).
        training: whether to drop at all.
    """
    if not training or probability == 0:
        return hidden
    if hidden.device.type != "cpu":
        return functional.dropout(hidden, probability)
    return hidden * kept(hidden, probability) * kept_scale(probability)


def add_dropped(residual: Tensor, hidden: Tensor, probability: float, training: bool) -> Tensor:
    """Return residual + dropout(hidden), with one pass over the memory less."""
    if not training or probability == 0 or hidden.device.type != "cpu":
        return residual + dropout(hidden, probability, training)
    return torch.add(residual, hidden * kept(hidden, probability), alpha=kept_scale(probability))
