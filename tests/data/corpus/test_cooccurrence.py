"""What tokens have to do with their neighbours, against the definition, pair by pair."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from plmtrain.data.corpus import cooccurrence
from plmtrain.data.corpus.cooccurrence import OFFSETS, mutual_information
from plmtrain.data.corpus.store import Store

END = 2


def store_of(documents: list[list[int]]) -> Store:
    """Prepared documents, in memory."""
    tokens = np.array([token for document in documents for token in [*document, END]], np.uint16)
    starts = np.cumsum([0, *(len(document) + 1 for document in documents)])
    return Store(Path(), "train", tokens, starts, starts, np.ones(len(tokens), np.bool_))


def counts_of(store: Store, vocabulary: int) -> NDArray[np.int64]:
    counts = np.bincount(store.tokens, minlength=vocabulary)
    counts[END] = 0
    return counts


def defined(documents: list[list[int]], vocabulary: int, offset: int) -> NDArray[np.float64]:
    """Positive pointwise mutual information with smoothed contexts, from single pairs."""
    pairs = Counter(
        (document[place], document[place + offset])
        for document in documents
        for place in range(len(document))
        if 0 <= place + offset < len(document)
    )
    of_token, of_context = Counter(), Counter()
    for (token, context), times in pairs.items():
        of_token[token] += times
        of_context[context] += times
    smoothed = {context: times**0.75 for context, times in of_context.items()}
    matrix = np.zeros((vocabulary, vocabulary))
    for (token, context), times in pairs.items():
        expected = of_token[token] * smoothed[context] / sum(smoothed.values())
        matrix[token, context] = max(0.0, math.log(times / expected))
    return matrix


@pytest.mark.parametrize("seed", range(5))
def test_information_is_what_single_pairs_give(seed: int) -> None:
    generator = np.random.default_rng(seed)
    documents = [list(generator.choice(np.arange(3, 12), generator.integers(1, 30))) for _ in range(40)]
    store = store_of(documents)
    information = mutual_information({store: 1.0}, counts_of(store, 14), END)
    assert information.shape == (14, 4 * 9)
    dense = np.zeros(information.shape)
    dense[information.tokens, information.contexts] = information.values
    by_frequency = np.argsort(-counts_of(store, 14), kind="stable")[:9]
    expected = np.hstack([defined(documents, 14, offset)[:, by_frequency] for offset in OFFSETS])
    assert dense == pytest.approx(expected)
    assert (information.values > 0).all()


def test_of_long_texts_pieces_from_all_parts_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the shares of the texts; a pair is never made of the ends of two pieces."""
    monkeypatch.setattr(cooccurrence, "_PIECE", 8)
    monkeypatch.setattr(cooccurrence, "MOST_TOKENS", 64)
    long, other = store_of([[3, 4] * 400, [5, 6] * 400]), store_of([[7, 8] * 400])
    tokens, documents = cooccurrence._sampled({long: 0.75, other: 0.25}, END)
    assert Counter(tokens.tolist()) == {3: 12, 4: 12, 5: 12, 6: 11, -1: 1, 7: 8, 8: 8}
    assert len(np.unique(documents)) == 8
    numbers = np.arange(10)
    pairs = cooccurrence._pairs(tokens, documents, 1, numbers)
    assert {tuple(pair) for pair in pairs.T} == {(3, 4), (4, 3), (5, 6), (6, 5), (7, 8), (8, 7)}
    assert pairs.shape[1] == 8 * 7 - 1  # one piece ends with a document
