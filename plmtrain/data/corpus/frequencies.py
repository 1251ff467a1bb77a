"""How frequent each token of a training text is, and what a model loses that knows nothing else."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from plmtrain.data.corpus.store import Store, mapped

_PIECE = 2**24  # tokens that are counted at a time


def token_counts(store: Store, vocabulary_size: int, end_mark: int) -> NDArray[np.int64]:
    """Count each token of a training text, document-end marks apart.

    Args:
        store: the training split.
        vocabulary_size: how many different tokens there are.
        end_mark: the token after every document.

    Returns:
        [vocabulary].
    """
    path = store.folder / store.split / "frequencies.npy"
    if path.exists():
        return mapped(path)
    # Data that version 0.1 prepared have this file for parallel text only.
    counts = np.zeros(vocabulary_size, np.int64)
    for first in range(0, len(store), _PIECE):
        counts += np.bincount(store.tokens[first : first + _PIECE], minlength=vocabulary_size)
    counts[end_mark] = 0
    return counts


def mixed_counts(counts: Sequence[NDArray[np.int64]], shares: Sequence[float]) -> NDArray[np.int64]:
    """Return how often each token occurs in as many tokens as several texts have together, of which each text has its share.

    Args:
        counts: of each text.  # [vocabulary] each
        shares: the share of each text.
    """
    whole = np.stack(counts).astype(np.float64)  # [texts, vocabulary]
    weights = np.array(shares) / sum(shares)
    mixed = whole.sum() * (weights / whole.sum(axis=1)) @ whole
    rounded: NDArray[np.int64] = np.where(mixed > 0, np.maximum(1, np.rint(mixed)), 0).astype(np.int64)
    return rounded


def unigram_entropy(counts: NDArray[np.int64]) -> float:
    """Return the entropy of tokens, in nats a token: the mean loss on this text of a model that knows only frequencies.

    Args:
        counts: [vocabulary] how often each token occurs.
    """
    present = counts[counts > 0].astype(np.float64)
    shares = present / present.sum()
    return float(-(shares * np.log(shares)).sum())


def unigram_losses(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the loss of each token, in nats, for a model that knows only frequencies.

    Tokens that the text does not have share the probability of one further occurrence, so that held-out text with one of them
    has a finite loss.

    Args:
        counts: [vocabulary] how often each token occurs.
    """
    total, absent = int(counts.sum()), int((counts == 0).sum())
    if not absent:
        return -np.log(counts / max(total, 1))
    return -np.log(np.where(counts > 0, counts, 1.0 / absent) / (total + 1))
