"""Metrics of a confusion matrix against scikit-learn's of the predictions themselves."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics

from plmtrain.metrics.classification import measure


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


def test_the_second_class_is_the_one_that_f1_is_of() -> None:
    """GLUE's MRPC and QQP: the class of number 1 is the pairs that say the same."""
    confusion = np.array([[0.0, 10.0], [0.0, 90.0]])  # everything is taken for the second class
    assert measure("f1", confusion) == pytest.approx(2 * 0.9 / 1.9)
    assert measure("f1", confusion[::-1, ::-1]) == 0.0
