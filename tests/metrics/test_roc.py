"""The area under the ROC curve from histograms, against its definition and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from plmtrain.metrics import roc


def histograms(negatives: np.ndarray, positives: np.ndarray, bins: int) -> tuple[np.ndarray, np.ndarray]:
    return np.bincount(negatives, minlength=bins).astype(float), np.bincount(positives, minlength=bins).astype(float)


@pytest.mark.parametrize("bins", [3, 50, 4000])
def test_the_area_is_the_chance_that_a_positive_scores_higher(bins: int) -> None:
    random = np.random.default_rng(bins)
    negatives, positives = random.integers(0, bins, 300), np.minimum(bins - 1, random.integers(0, bins, 70) + bins // 4)
    found = roc.area(*histograms(negatives, positives, bins))
    assert found is not None
    labels, scores = np.repeat([0, 1], [300, 70]), np.concatenate([negatives, positives])
    assert found[0] == pytest.approx(roc_auc_score(labels, scores))
    # DeLong, DeLong and Clarke-Pearson 1988: the variances of the structural components, pair by pair.
    wins = (positives[:, None] > negatives) + 0.5 * (positives[:, None] == negatives)
    variance = wins.mean(1).var(ddof=1) / 70 + wins.mean(0).var(ddof=1) / 300
    assert found[2] == pytest.approx(min(1, found[0] + 1.96 * variance**0.5))
    assert found[1] == pytest.approx(max(0, found[0] - 1.96 * variance**0.5))


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    """Normal scores a shift of 1 apart: the area is Phi(1 / sqrt(2)) = 0.7602."""
    random, covered = np.random.default_rng(0), 0
    for _ in range(1000):
        negatives, positives = (
            np.clip((random.normal(shift, 1, n) + 6) * 100, 0, 1299).astype(int) for shift, n in ((0, 200), (1, 50))
        )
        found = roc.area(*histograms(negatives, positives, 1300))
        assert found is not None
        covered += found[1] <= 0.7602499 <= found[2]
    assert 0.92 < covered / 1000 < 0.975


def test_without_both_kinds_there_is_no_area() -> None:
    assert roc.area(np.ones(5), np.zeros(5)) is None
    assert roc.area(np.zeros(5), np.ones(5)) is None
    found = roc.area(np.array([4.0, 0.0]), np.array([0.0, 3.0]))
    assert found == (1.0, 1.0, 1.0)
