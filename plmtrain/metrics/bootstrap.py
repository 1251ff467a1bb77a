"""Intervals of means by the bootstrap (Efron and Tibshirani 1993, section 13.3)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from plmtrain.keyed_random import Keys, integers

RESAMPLES = 10_000
LEVEL = 0.95


def mean_interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the percentile interval of a mean: the middle 95 % of the means of resamples, drawn with replacement.

    The resamples are a function of the number of values alone, and their order does not matter: equal values have equal
    intervals.

    Args:
        values: one or more. Of fewer than five the interval is too narrow: it is a part of their range.
    """
    numbers = np.sort(np.asarray(values, np.float64))
    keys = Keys(0, np.zeros(RESAMPLES, np.int64), np.arange(RESAMPLES))
    means = numbers[integers("bootstrap", keys, len(numbers), len(numbers))].mean(axis=1)  # [resamples]
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
