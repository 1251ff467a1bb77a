"""Index arithmetic that several corruptions share: concatenated ranges, and shuffling within groups."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from plmtrain.keyed_random import Bits

Indices = NDArray[np.int64]

_HALF = np.uint64(32)


def ranges(first: Indices, lengths: Indices) -> Indices:
    """Concatenate several ranges of consecutive numbers.

    Args:
        first: [ranges] where each begins.
        lengths: [ranges] how many numbers each has; 0 for none.
    """
    ends = np.cumsum(lengths)
    return np.repeat(first + lengths - ends, lengths) + np.arange(int(ends[-1]) if len(ends) else 0)


def shuffled(groups: Indices, random: Bits) -> Indices:
    """Order the members of groups group by group, at random within each.

    Args:
        groups: [members] the group of each, ascending from 0 or more.
        random: [members] numbers; where the high halves of two are equal, the earlier member comes first.

    Returns:
        [members] indices.

    Raises:
        ValueError: beyond about 2**16 members in as many groups.
    """
    if not len(groups):
        return np.empty(0, np.int64)
    # A single sort for groups and order: the group in the highest bits, then the order, then the index.
    low = np.uint64(len(groups).bit_length())
    if int(low) + int(groups[-1]).bit_length() > 32:
        raise ValueError("too many members at a time")
    packed = groups.astype(np.uint64) << _HALF
    packed |= random >> _HALF
    packed <<= low
    packed |= np.arange(len(groups), dtype=np.uint64)
    packed.sort()
    return (packed & ((np.uint64(1) << low) - np.uint64(1))).view(np.int64)


def share_of(counts: Indices, share: float) -> Indices:
    """Return a share of each number, rounded up; the error of floating point does not push a whole number up."""
    rounded: Indices = np.ceil(counts * share - 1e-9).astype(np.int64)
    return rounded
