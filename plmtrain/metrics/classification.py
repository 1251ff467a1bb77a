"""Metrics of classes, computed from a confusion matrix: its size does not grow with what is scored."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def measure(name: str, confusion: NDArray[np.float64]) -> float:
    """Compute a metric by scikit-learn.

    Args:
        name: ``accuracy``; ``f1`` of the second class where there are two, as in GLUE, else the mean of all; ``mcc``.
        confusion: [classes, classes] how often each class (rows) was taken for each (columns).
    """
    from sklearn import metrics  # type: ignore[import-untyped]

    classes = np.arange(len(confusion))
    true, predicted = np.repeat(classes, len(classes)), np.tile(classes, len(classes))
    weights = confusion.reshape(-1)
    if not weights.sum():
        return 0.0
    if name == "f1":
        average = "binary" if len(classes) == 2 else "macro"
        return float(metrics.f1_score(true, predicted, sample_weight=weights, average=average, zero_division=0.0))
    function = {"accuracy": metrics.accuracy_score, "mcc": metrics.matthews_corrcoef}[name]
    return float(function(true, predicted, sample_weight=weights))


def measure_several(name: str, answers: NDArray[np.float64], subsets: NDArray[np.float64]) -> float:
    """Compute a metric of texts with any number of labels by scikit-learn.

    Args:
        name: ``micro_f1``, of all labels of all texts; ``macro_f1``, the mean of the labels; ``subset_accuracy``, the share of
            texts whose labels are exactly right.
        answers: [labels, 2, 2] how often each label is right or not (first), and is given or not (second).
        subsets: the number of texts whose labels are exactly right, and of all texts.
    """
    if name == "subset_accuracy":
        right, texts = subsets
        return float(right / texts) if texts else 0.0
    if name == "micro_f1":
        return measure("f1", answers.sum(axis=0))
    return float(np.mean([measure("f1", own) for own in answers]))
