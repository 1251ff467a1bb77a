"""The area under the ROC curve from two histograms of scores, so that memory does not grow with the number of scores."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def area(negatives: NDArray[np.float64], positives: NDArray[np.float64]) -> tuple[float, float, float] | None:
    """Return the probability that a positive scores higher than a negative (ties count half), with its 95 % interval.

    The variance is DeLong's (DeLong, DeLong and Clarke-Pearson 1988, equations 4 to 7), in which every score is an
    independent observation.

    Args:
        negatives: [bins] how many negatives scored within each bin, bins in ascending order.
        positives: [bins] the same for the positives.

    Returns:
        The area and the ends of its interval; None if there are fewer than two negatives or two positives.
    """
    negative, positive = float(negatives.sum()), float(positives.sum())
    if min(negative, positive) < 2:
        return None
    # For each bin: the share of the negatives that a positive there beats, and the share of the positives that beat a negative.
    beats = (np.cumsum(negatives) - negatives / 2) / negative
    beaten = (positive - np.cumsum(positives) + positives / 2) / positive
    auc = float(np.sum(positives * beats) / positive)
    variance = np.sum(positives * (beats - auc) ** 2) / (positive - 1) / positive
    variance += np.sum(negatives * (beaten - auc) ** 2) / (negative - 1) / negative
    margin = 1.96 * math.sqrt(variance)
    return auc, max(0.0, auc - margin), min(1.0, auc + margin)
