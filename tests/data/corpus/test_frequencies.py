"""Frequencies of tokens: counts, the entropy, and the loss of a model that knows nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from plmtrain.data.corpus.frequencies import token_counts, unigram_entropy, unigram_losses
from plmtrain.data.corpus.store import Store


def test_unigram_entropy() -> None:
    assert unigram_entropy(np.array([0, 5, 5, 5, 5])) == pytest.approx(np.log(4))
    assert unigram_entropy(np.array([9, 0])) == 0
    assert unigram_entropy(np.array([1, 3])) == pytest.approx(-(0.25 * np.log(0.25) + 0.75 * np.log(0.75)))


def test_losses_are_those_of_a_distribution() -> None:
    """Their exponentials add up to one, with absent tokens and without; on the text itself their mean is the entropy."""
    for counts in (np.array([3, 0, 5, 0, 2]), np.array([4, 4, 1])):
        losses = unigram_losses(counts)
        assert np.exp(-losses).sum() == pytest.approx(1)
        assert np.isfinite(losses).all()
    full = np.array([4, 4, 1])
    assert float(full @ unigram_losses(full) / full.sum()) == pytest.approx(unigram_entropy(full))


def test_absent_tokens_are_rarer_than_any_that_occurs() -> None:
    losses = unigram_losses(np.array([1000, 1, 0, 0]))
    assert losses[2] == losses[3] > losses[1] > losses[0]


def test_data_of_version_0_1_are_counted(tmp_path: Path) -> None:
    """They have no file of counts; the end mark is not counted."""
    tokens = np.array([5, 6, 2, 5, 2], np.uint8)
    starts = np.array([0, 3, 5])
    store = Store(tmp_path, "train", tokens, starts, starts, np.ones(5, np.bool_))
    assert token_counts(store, 8, end_mark=2).tolist() == [0, 0, 0, 0, 0, 2, 1, 0]
