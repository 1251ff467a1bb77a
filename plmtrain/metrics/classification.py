"""Metrics of classes, computed from a confusion matrix: its size does not grow with what is scored."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def measure(name: str, confusion: NDArray[np.float64]) -> float:
    """Compute a metric by scikit-learn.

    Args:
        name: ``accuracy``; ``f1`` of the second class where there are two, as in GLUE, else the mean of all; ``mcc``.
        confusion: [classes, classes] how often each class (rows) was taken for each (columns); with a further column for answers
            of no class, if there are any.
    """
    from sklearn import metrics  # type: ignore[import-untyped]

    classes, columns = np.arange(confusion.shape[0]), np.arange(confusion.shape[1])
    true, predicted = np.repeat(classes, len(columns)), np.tile(columns, len(classes))
    weights = confusion.reshape(-1)
    if not weights.sum():
        return 0.0
    if name == "f1":
        chosen = {"average": "binary"} if len(classes) == 2 else {"average": "macro", "labels": classes}
        return float(metrics.f1_score(true, predicted, sample_weight=weights, zero_division=0.0, **chosen))
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


def confusion_of(given: Sequence[str | None], right: Sequence[str], labels: Sequence[str]) -> NDArray[np.float64]:
    """Count how often each label was taken for each.

    Args:
        given: the labels that a model gave; None for an answer that is no label. Of two labels that counts as the wrong one, as
            in the code of Raffel et al. 2020; of more as a further one.
        right: the right labels.
        labels: all labels.

    Returns:
        [labels, labels], with a column more for answers that are no label if there are more than two labels.
    """
    number = {label: index for index, label in enumerate(labels)}
    confusion = np.zeros((len(labels), len(labels) + (len(labels) > 2)))
    for answer, label in zip(given, right, strict=True):
        other = 1 - number[label] if len(labels) == 2 else len(labels)
        confusion[number[label], other if answer is None else number[answer]] += 1
    return confusion
