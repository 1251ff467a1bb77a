"""The area under the ROC curve from two histograms of scores: memory that does not grow with what is scored."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def area(negatives: NDArray[np.float64], positives: NDArray[np.float64]) -> tuple[float, float, float] | None:
    """The chance that a positive scores higher than a negative (ties count half), with its 95 % interval.

    The variance is DeLong's (DeLong, DeLong and Clarke-Pearson 1988, equations 4 to 7), for which every score counts as an
    observation of its own.

    Args:
        negatives: [bins] how many negatives scored within each bin, bins in ascending order.
        positives: [bins] the same for the positives.

    Returns:
        The area and the ends of its interval; None where one of the two kinds has fewer than two scores.
    """
    negative, positive = float(negatives.sum()), float(positives.sum())
    if min(negative, positive) < 2:
        return None
    # For each bin: which share of the negatives a positive there beats, and which share of the positives beats a negative.
    beats = (np.cumsum(negatives) - negatives / 2) / negative
    beaten = (positive - np.cumsum(positives) + positives / 2) / positive
    found = float(np.sum(positives * beats) / positive)
    variance = np.sum(positives * (beats - found) ** 2) / (positive - 1) / positive
    variance += np.sum(negatives * (beaten - found) ** 2) / (negative - 1) / negative
    margin = 1.96 * math.sqrt(variance)
    return found, max(0.0, found - margin), min(1.0, found + margin)
