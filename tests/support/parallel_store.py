"""Parallel text in memory: documents of random tokens, some of which are translations of the one before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from plmtrain.data.corpus.store import Store

END = 3
"""The mark behind each document."""
SPECIALS = 5
"""Tokens below this are special."""


def store_of(
    documents: list[tuple[int, bool, list[int]]], vocabulary: int = 64, frequencies: Any = None, end: int = END
) -> Store:
    """A store.

    Args:
        documents: the language of each, whether it translates the one before, and its tokens without the end mark.
        vocabulary: how many tokens there are.
        frequencies: of the tokens; as they are in these documents if not given.
        end: the mark behind each document.
    """
    tokens = np.array([token for *_, text in documents for token in [*text, end]], np.uint16)
    starts = np.cumsum([0, *(len(text) + 1 for *_, text in documents)])
    store = Store(
        Path("memory"),
        "train",
        tokens,
        starts,
        starts,
        tokens % 2 == 0,
        np.array([language for language, *_ in documents], np.uint8),
        np.array([translates for _, translates, _ in documents], np.bool_),
    )
    counts = np.bincount(tokens, minlength=vocabulary).astype(float) if frequencies is None else np.asarray(frequencies, float)
    counts[end] = 0
    store.__dict__["shares"] = np.maximum(counts, 1) / max(counts.sum(), 1)
    return store


def corpus(
    pairs: int,
    seed: int = 0,
    *,
    languages: int = 2,
    longest: int = 12,
    same: bool = False,
    first: int = SPECIALS + 1,
    last: int = 62,
    end: int = END,
) -> Store:
    """Pairs of random documents: the translation of a token t is t + 1 (odd for even), or, if ``same``, the token itself.

    Args:
        pairs: how many.
        seed: of the random numbers.
        languages: the first one, and those of the translations.
        longest: tokens that no document has.
        same: whether translations are the originals.
        first: the lowest token, even.
        last: the first token above the highest one.
        end: the mark behind each document.
    """
    generator = np.random.default_rng(seed)
    documents = []
    for index in range(pairs):
        text = (first + 2 * (generator.zipf(1.5, generator.integers(2, longest)) % ((last - first) // 2))).tolist()
        other = 1 + index % (languages - 1)
        documents.append((0, False, text))
        documents.append((other, True, text if same else [token + 1 for token in text]))
    return store_of(documents, end=end)
