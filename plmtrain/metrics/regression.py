"""Metrics of scores: correlations by scipy, F1 by scikit-learn, and the mean squared error."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def measure(
    name: str, predictions: NDArray[np.float64], references: NDArray[np.float64], positive_from: float | None = None
) -> float:
    """Compute a metric.

    Args:
        name: ``pearson`` or ``spearman``, the correlations that GLUE reports for STS-B, by scipy; ``mse``; ``f1`` of positive
            examples, which KLUE reports for its STS (Park et al. 2021, section 3.2), by scikit-learn.
        predictions: [examples] the scores that a model gives.
        references: [examples] the scores of the table.
        positive_from: for ``f1``: the score from which an example is positive.

    Returns:
        ``nan`` for a correlation that is undefined; ``undefined`` says why.
    """
    if name == "mse":
        return float(np.mean((predictions - references) ** 2)) if len(references) else math.nan
    if name == "f1":
        assert positive_from is not None, "the settings demand it"
        from sklearn import metrics  # type: ignore[import-untyped]

        return float(metrics.f1_score(references >= positive_from, predictions >= positive_from, zero_division=0.0))
    if undefined(predictions, references) is not None:
        return math.nan  # scipy warns, or raises for one example
    from scipy import stats  # type: ignore[import-untyped]

    function = {"pearson": stats.pearsonr, "spearman": stats.spearmanr}[name]
    return float(function(predictions, references).statistic)


def undefined(predictions: NDArray[np.float64], references: NDArray[np.float64]) -> str | None:
    """Say why scores have no correlation; None where they have one.

    Args:
        predictions, references: as for ``measure``.
    """
    if len(references) < 2:
        return "there are fewer than two examples"
    if not (np.isfinite(predictions).all() and np.isfinite(references).all()):
        return "a score is not finite"
    for scores, owner in ((predictions, "predicted"), (references, "given")):
        if np.all(scores == scores[0]):
            return f"all {owner} scores are equal"
    return None


def as_numbers(given: Sequence[float | None], right: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return scores with a number for those that are none: the lowest or the highest of the right scores, whichever is farther
    from the right one.

    Args:
        given: the scores that a model gave; None for an answer that is no number.
        right: [examples] the right ones.
    """
    lowest, highest = right.min(initial=np.inf), right.max(initial=-np.inf)
    farthest = np.where(right - lowest > highest - right, lowest, highest)
    return np.array(
        [other if score is None else score for score, other in zip(given, farthest.tolist(), strict=True)], np.float64
    )
