"""Precision, recall and F1 of names marked by B- and I- (Tjong Kim Sang and De Meulder 2003, section 3).

A name is right if its type and all of its words are. An I- without a B- or I- of its type before it begins a name, as in
conlleval: labels are scored as they are, none is repaired; scored strictly, it is no name. Some corpora also mark a name's last
word, by E- or L-, and its only word, by S- or U-.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np

from plmtrain.errors import SettingsError

_AS_SEQEVAL_HAS_THEM = {"L-": "E-", "U-": "S-"}
"""The marks of the last and of the only word that seqeval knows by another letter."""


def measures(
    predicted: Sequence[Sequence[str]], expected: Sequence[Sequence[str]], average: str = "micro", *, strict: bool = False
) -> dict[str, float]:
    """Compute ``precision``, ``recall`` and ``f1`` over all texts, by seqeval; 0 where there is no name.

    Args:
        predicted: the labels of the words of each text.
        expected: the right ones.
        average: ``micro``, of all names, or ``macro``, the mean over their types.
        strict: whether a name must begin with B-.

    Raises:
        SettingsError: if seqeval is not installed.
    """
    try:
        from seqeval.metrics import v1  # type: ignore[import-untyped]
        from seqeval.metrics.sequence_labeling import precision_recall_fscore_support  # type: ignore[import-untyped]
        from seqeval.scheme import IOB2  # type: ignore[import-untyped]
    except ImportError:
        raise SettingsError(
            "names are scored by seqeval, which is not installed", "task.scheme=entities", "pip install 'plmtrain[eval]'"
        ) from None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of divisions by zero, whose result is 0
        texts = _known(expected), _known(predicted)
        if strict:
            precision, recall, f1, _ = v1.precision_recall_fscore_support(*texts, average=average, scheme=IOB2)
        else:
            precision, recall, f1, _ = precision_recall_fscore_support(*texts, average=average)
    # The mean over no type is none.
    return {"precision": float(np.nan_to_num(precision)), "recall": float(np.nan_to_num(recall)), "f1": float(np.nan_to_num(f1))}


def _known(texts: Sequence[Sequence[str]]) -> list[list[str]]:
    return [[_AS_SEQEVAL_HAS_THEM.get(label[:2], label[:2]) + label[2:] for label in labels] for labels in texts]
