"""The bootstrap's interval against all resamples that there are, and against scipy's."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy import stats

from plmtrain.metrics.bootstrap import mean_interval

VALUES = [0.61, 0.47, 0.66, 0.52, 0.7]


def test_of_few_values_it_is_that_of_all_resamples() -> None:
    means = [np.mean(drawn) for drawn in product(VALUES, repeat=len(VALUES))]
    assert mean_interval(VALUES) == pytest.approx(np.quantile(means, [0.025, 0.975]), abs=0.006)


def test_it_is_scipys_within_the_noise_of_resampling() -> None:
    values = np.random.default_rng(0).normal(0.7, 0.1, 40)
    of_scipy = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=10_000).confidence_interval
    assert mean_interval(values.tolist()) == pytest.approx((of_scipy.low, of_scipy.high), abs=0.003)


def test_neither_order_nor_another_call_changes_it() -> None:
    assert mean_interval(VALUES) == mean_interval(VALUES[::-1]) == mean_interval(VALUES)
    low, high = mean_interval([1 - value for value in VALUES])
    assert (1 - high, 1 - low) == pytest.approx(mean_interval(VALUES), abs=0.006)


def test_equal_values_have_no_width() -> None:
    assert mean_interval([0.5, 0.5]) == (0.5, 0.5)
    assert mean_interval([0.25]) == (0.25, 0.25)
