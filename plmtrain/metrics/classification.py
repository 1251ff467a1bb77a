"""Metrics of classes, computed from a confusion matrix: its size does not grow with what is scored."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def measure(name: str, confusion: NDArray[np.float64], negative: int | None = None) -> float:
    """Compute a metric by scikit-learn.

    Args:
        name: ``accuracy``; ``f1`` of the second class where there are two, as in GLUE, else the mean of all; ``mcc``;
            ``micro_f1`` of all classes but the negative one.
        confusion: [classes, classes] how often each class (rows) was taken for each (columns); with a further column for answers
            of no class, if there are any.
        negative: the class that says that there is none of the others; None for none.
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
    if name == "micro_f1":
        counted = [number for number in classes if number != negative]
        return float(metrics.f1_score(true, predicted, sample_weight=weights, labels=counted, average="micro", zero_division=0.0))
    function = {"accuracy": metrics.accuracy_score, "mcc": metrics.matthews_corrcoef}[name]
    return float(function(true, predicted, sample_weight=weights))


def mean_f1(confusion: NDArray[np.float64]) -> float:
    """Return the mean over classes of F1, also of two; 0 of a class that is neither right nor given.

    Args:
        confusion: [classes, classes] as in ``measure``.
    """
    return float(np.mean([measure("f1", _against_all(confusion, number)) for number in range(len(confusion))]))


def _against_all(confusion: NDArray[np.float64], number: int) -> NDArray[np.float64]:
    """Return the confusion of a class with all others together.  # [2, 2]"""
    hits, given, right = confusion[number, number], confusion[:, number].sum(), confusion[number].sum()
    return np.array([[confusion.sum() - given - right + hits, given - hits], [right - hits, hits]])


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


def area_under_precision_and_recall(right: Sequence[int], shares: NDArray[np.float64]) -> float:
    """Return the mean over classes of the area under the curve of precision and recall, as KLUE's code has it (Park et al. 2021,
    section 3.5), by scikit-learn; a class that is never right has no recall, and is omitted.

    Args:
        right: the number of the right class of each example.
        shares: [examples, classes] the probabilities.
    """
    from sklearn import metrics

    areas = []
    for number in sorted(set(right)):
        precision, recall, _ = metrics.precision_recall_curve(np.array(right) == number, shares[:, number])
        areas.append(metrics.auc(recall, precision))
    return float(np.mean(areas)) if areas else 0.0


def share_of_whole_groups(hits: Sequence[bool], groups: Sequence[str]) -> float:
    """Return the share of groups all of whose examples have the right answer.

    Args:
        hits: whether the answer of each example is right.
        groups: the group of each.
    """
    whole: dict[str, bool] = {}
    for hit, group in zip(hits, groups, strict=True):
        whole[group] = whole.get(group, True) and hit
    return sum(whole.values()) / len(whole) if whole else 0.0


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
