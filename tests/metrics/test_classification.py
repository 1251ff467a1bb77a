"""Metrics of a confusion matrix against scikit-learn's of the predictions themselves."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics

from plmtrain.metrics.classification import area_under_precision_and_recall, mean_f1, measure, share_of_whole_groups


@pytest.mark.parametrize("classes", [2, 4])
def test_metrics_are_those_of_scikit_learn_on_the_predictions_themselves(classes: int) -> None:
    numbers = np.random.default_rng(classes)
    true, predicted = numbers.integers(0, classes, 200), numbers.integers(0, classes, 200)
    predicted[:100] = true[:100]
    confusion = metrics.confusion_matrix(true, predicted, labels=range(classes)).astype(float)
    average = "binary" if classes == 2 else "macro"
    assert measure("accuracy", confusion) == pytest.approx(metrics.accuracy_score(true, predicted))
    assert measure("f1", confusion) == pytest.approx(metrics.f1_score(true, predicted, average=average))
    assert measure("mcc", confusion) == pytest.approx(metrics.matthews_corrcoef(true, predicted))
    others = [number for number in range(classes) if number != 1]
    assert measure("micro_f1", confusion, 1) == pytest.approx(metrics.f1_score(true, predicted, average="micro", labels=others))
    assert measure("micro_f1", confusion) == measure("accuracy", confusion)
    assert mean_f1(confusion) == pytest.approx(metrics.f1_score(true, predicted, average="macro"))


def test_the_second_class_is_the_one_that_f1_is_of() -> None:
    """GLUE's MRPC and QQP: the class of number 1 is the pairs that say the same."""
    confusion = np.array([[0.0, 10.0], [0.0, 90.0]])  # everything is taken for the second class
    assert measure("f1", confusion) == pytest.approx(2 * 0.9 / 1.9)
    assert measure("f1", confusion[::-1, ::-1]) == 0.0


def test_odd_answers_have_the_micro_f1_of_scikit_learn() -> None:
    """Nothing but the negative class, right or given."""
    for true, predicted in (([0, 0], [0, 0]), ([0, 0], [1, 0]), ([1, 2], [0, 0])):
        confusion = metrics.confusion_matrix(true, predicted, labels=range(3)).astype(float)
        expected = metrics.f1_score(true, predicted, average="micro", labels=[1, 2], zero_division=0)
        assert measure("micro_f1", confusion, 0) == expected


def test_the_area_under_precision_and_recall_is_that_of_klues_code() -> None:
    numbers = np.random.default_rng(0)
    shares = numbers.dirichlet(np.ones(4), 60)
    right = [*range(4), *numbers.integers(0, 4, 56).tolist()]
    areas = []
    for number in range(4):  # klue_re_auprc in KLUE-benchmark/KLUE-baseline
        precision, recall, _ = metrics.precision_recall_curve(np.eye(4)[right][:, number], shares[:, number])
        areas.append(metrics.auc(recall, precision))
    assert area_under_precision_and_recall(right, shares) == pytest.approx(np.average(areas))
    assert area_under_precision_and_recall([0, 0, 1], np.array([[0.9, 0.1, 0], [0.8, 0.2, 0], [0.3, 0.7, 0]])) == 1.0


def test_a_group_is_right_if_all_its_examples_are() -> None:
    hits, groups = [True, False, True, True, True], ["a", "b", "a", "b", "c"]
    assert share_of_whole_groups(hits, groups) == pytest.approx(2 / 3)
    assert share_of_whole_groups([], []) == 0.0
