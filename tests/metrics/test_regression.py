"""Metrics of scores against scipy's own, and where they are undefined."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics

from plmtrain.metrics.regression import measure, undefined

# Quarters, so that there are ties, as in STS-B.
SCORES = st.lists(st.integers(0, 20).map(lambda number: number / 4), min_size=2, max_size=30)


@given(st.data())
def test_they_are_those_of_scipy_and_scikit_learn(data: st.DataObject) -> None:
    one = np.array(data.draw(SCORES))
    other = np.array(data.draw(st.lists(st.floats(-3, 8), min_size=len(one), max_size=len(one))))
    assert measure("mse", other, one) == pytest.approx(metrics.mean_squared_error(one, other))
    if undefined(other, one) is None:
        assert measure("pearson", other, one) == pytest.approx(stats.pearsonr(other, one).statistic, nan_ok=True)
        assert measure("spearman", other, one) == stats.spearmanr(other, one).statistic


@given(st.data())
def test_f1_is_that_of_the_positive_examples(data: st.DataObject) -> None:
    right = np.array(data.draw(SCORES))
    given = np.array(data.draw(st.lists(st.sampled_from([0.0, 2.99, 3.0, 3.01, 7.0]), min_size=len(right), max_size=len(right))))
    hits = np.sum((given >= 3) & (right >= 3))
    wanted = 2 * hits / max(1, np.sum(given >= 3) + np.sum(right >= 3))
    assert measure("f1", given, right, positive_from=3.0) == pytest.approx(wanted)


def test_by_hand() -> None:
    """Five pairs with a tie, by the definitions: moments of the numbers, and moments of their ranks (2.5 for the tie)."""
    given, right = np.array([1.0, 2.0, 2.0, 5.0, 9.0]), np.array([0.0, 1.0, 2.0, 3.0, 4.0])
    ranks = np.array([1.0, 2.5, 2.5, 4.0, 5.0])

    def correlation(one: np.ndarray, other: np.ndarray) -> float:
        one, other = one - one.mean(), other - other.mean()
        return float((one * other).sum() / math.sqrt((one**2).sum() * (other**2).sum()))

    assert measure("pearson", given, right) == pytest.approx(correlation(given, right))
    assert measure("spearman", given, right) == pytest.approx(correlation(ranks, right + 1))
    assert measure("mse", given, right) == pytest.approx((1 + 1 + 0 + 4 + 25) / 5)


@pytest.mark.parametrize(
    ("given", "right", "why"),
    [
        ([2.0, 2.0, 2.0], [1.0, 2.0, 3.0], "all predicted scores are equal"),
        ([1.0, 2.0, 3.0], [2.0, 2.0, 2.0], "all given scores are equal"),
        ([1.0], [1.0], "fewer than two examples"),
        ([], [], "fewer than two examples"),
        ([math.nan, 1.0, 2.0], [1.0, 2.0, 3.0], "not finite"),
    ],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_an_undefined_correlation_is_no_number_and_has_a_reason(given: list[float], right: list[float], why: str) -> None:
    one, other = np.array(given), np.array(right)
    assert why in (undefined(one, other) or "")
    assert math.isnan(measure("pearson", one, other))
    assert math.isnan(measure("spearman", one, other))
    if len(given) > 1:  # as scipy says
        assert math.isnan(stats.pearsonr(one, other).statistic)
        assert math.isnan(stats.spearmanr(one, other).statistic)
