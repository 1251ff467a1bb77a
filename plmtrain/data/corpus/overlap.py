"""Documents that are held out of one of several texts, and trained on in another."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from plmtrain.data.corpus.store import mapped
from plmtrain.data.splits import Split

HASHES = "hashes.npy"
"""The file of the distinct hashes of a split's documents, ascending; text that an earlier version prepared has none."""


def overlaps(folders: Mapping[str, Path]) -> dict[str, int]:
    """Count the different held-out documents of each text that are in the training text of one of all.

    Args:
        folders: of the prepared data, by the names of the texts.
    """
    training = [_hashes(folder, "train") for folder in folders.values()]
    return {name: _among(_hashes(folder, "validation"), training) for name, folder in folders.items()}


def _hashes(folder: Path, split: Split) -> NDArray[np.uint64]:
    file = folder / split / HASHES
    return mapped(file) if file.exists() else np.empty(0, np.uint64)


def _among(some: NDArray[np.uint64], others: list[NDArray[np.uint64]]) -> int:
    """Count the numbers that one of several ascending arrays has, without reading all of these."""
    there = np.zeros(len(some), np.bool_)
    for other in others:
        if len(other):
            there |= other[np.minimum(np.searchsorted(other, some), len(other) - 1)] == some
    return int(there.sum())
