"""Which tokens stand beside each other in a text, as positive pointwise mutual information (Bullinaria and Levy 2007).

Contexts are told apart by where they stand (Levy and Goldberg 2014, "Linguistic regularities in sparse and explicit word
representations", section 3), and their frequencies are smoothed, as Levy, Goldberg and Dagan 2015 ("Improving distributional
similarity with lessons learned from word embeddings", section 3) found best.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from plmtrain.data.corpus.store import Store

OFFSETS = (-2, -1, 1, 2)
"""Where the contexts of a token stand."""

CONTEXTS = 4000
"""The most frequent tokens are contexts: rare ones say little, and the matrix would be large."""

MOST_TOKENS = 2**24
"""Tokens of a text that are counted: more of them change little, and take time."""

_PIECE = 2**16
"""Tokens that are counted together where a text is longer than that; the pieces lie evenly in it."""

_SMOOTHING = 0.75


@dataclass(frozen=True)
class Information:
    """A sparse matrix: how much more often than by chance each token has each context.

    Args:
        tokens: [pairs] the row of each entry.
        contexts: [pairs] its column.
        values: [pairs] above 0, in nats.
        shape: the number of tokens, and of contexts at all offsets.
    """

    tokens: NDArray[np.int64]
    contexts: NDArray[np.int64]
    values: NDArray[np.float64]
    shape: tuple[int, int]


def mutual_information(stores: Mapping[Store, float], counts: NDArray[np.int64], end_mark: int) -> Information:
    """Return what tokens have to do with those beside them in the training text.

    Args:
        stores: the training split of each text, and its share: of long texts as much is counted, short ones whole.
        counts: [vocabulary] how often each token occurs.
        end_mark: the token after every document.
    """
    contexts = np.argsort(-counts, kind="stable")[:CONTEXTS]
    contexts = contexts[(counts[contexts] > 0) & (contexts != end_mark)]
    numbers = np.full(len(counts), -1, np.int64)  # of each token among the contexts
    numbers[contexts] = np.arange(len(contexts))
    tokens, documents = _sampled(stores, end_mark)
    blocks = [_at_one_offset(_pairs(tokens, documents, offset, numbers), len(counts), len(contexts)) for offset in OFFSETS]
    return Information(
        np.concatenate([block.tokens for block in blocks]),
        np.concatenate([block.contexts + index * len(contexts) for index, block in enumerate(blocks)]),
        np.concatenate([block.values for block in blocks]),
        (len(counts), len(OFFSETS) * len(contexts)),
    )


def _sampled(stores: Mapping[Store, float], end_mark: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return tokens of the texts, -1 for end marks, and the number of each one's document or piece of one.  # [tokens] both"""
    pieces: list[NDArray[np.int64]] = []
    for store, share in stores.items():
        wanted = math.ceil(share * MOST_TOKENS / _PIECE)
        starts = np.arange(0, len(store), _PIECE)
        chosen = starts if len(starts) <= wanted else starts[np.arange(wanted) * len(starts) // wanted]
        pieces += [store.tokens[start : start + _PIECE].astype(np.int64) for start in chosen]
    tokens = np.concatenate(pieces)
    ends = tokens == end_mark
    breaks = ends.copy()
    breaks[np.cumsum([len(piece) for piece in pieces])[:-1]] = True
    tokens[ends] = -1
    return tokens, np.cumsum(breaks)


def _pairs(tokens: NDArray[np.int64], documents: NDArray[np.int64], offset: int, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the token and the number of the context of each pair that stands so far apart within a document.  # [2, pairs]"""
    distance = abs(offset)
    first, second = tokens[:-distance], tokens[distance:]
    token, context = (first, second) if offset > 0 else (second, first)
    within = (documents[:-distance] == documents[distance:]) & (first >= 0) & (second >= 0)
    pairs = np.stack([token[within], numbers[context[within]]])
    return pairs[:, pairs[1] >= 0]


def _at_one_offset(pairs: NDArray[np.int64], tokens: int, contexts: int) -> Information:
    """Return the information of pairs.  # [2, pairs]"""
    codes, joint = np.unique(pairs[0] * max(1, contexts) + pairs[1], return_counts=True)
    token, context = np.divmod(codes, max(1, contexts))
    by_token = np.bincount(token, joint, tokens)
    by_context = np.bincount(context, joint, contexts) ** _SMOOTHING
    information = np.log(joint / (by_token[token] * by_context[context] / by_context.sum()))
    more = information > 0
    return Information(token[more], context[more], information[more], (tokens, contexts))
