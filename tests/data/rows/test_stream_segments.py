"""XLNet's rows, taken apart again."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plmtrain.data.corpus.store import Store
from plmtrain.data.rows.rows import Rows
from plmtrain.data.rows.stream_segments import segment_pairs
from plmtrain.data.rows.streams import Streams
from plmtrain.keyed_random import Keys
from plmtrain.text.vocabulary import Vocabulary

VOCABULARY = Vocabulary(1010, {"unk": 0, "cls": 3, "sep": 4, "pad": 5, "mask": 6}, (0, 3, 4, 5, 6))


def text(rows: int, length: int, others: int, seed: int, *, sentences: bool = True) -> Rows:
    """Rows of a text whose tokens are 10 + their places; sentences are of random lengths, documents of 90 tokens."""
    draw = np.random.default_rng(seed)
    starts = np.unique([0, *draw.integers(1, 1000, 120), 1000]) if sentences else np.array([0, 1000])
    store = Store(
        Path("memory"),
        "train",
        np.arange(10, 1010, dtype=np.uint16),
        np.array([*range(0, 1000, 90), 1000]),
        starts,
        np.arange(1000) % 2 == 0,
    )
    return Streams(store, length, rows, others=others, isolate_documents=True).fetch(np.arange(rows))


def keys(rows: int, epoch: int = 0) -> Keys:
    return Keys(7, np.full(rows, epoch), np.arange(rows))


@given(
    rows=st.integers(1, 6),
    pair=st.integers(2, 30),
    reuse=st.integers(0, 30),
    share=st.sampled_from([0.0, 0.5, 1.0]),
    sentences=st.booleans(),
    seed=st.integers(0, 99),
)
def test_rows_come_apart_into_stretch_and_segments(
    rows: int, pair: int, reuse: int, share: float, sentences: bool, seed: int
) -> None:
    given_rows = text(rows, reuse + pair, pair if share else 0, seed, sentences=sentences)
    made = segment_pairs(given_rows, VOCABULARY, keys(rows, seed), reuse=reuse, random_share=share)
    assert made.documents is not None and given_rows.documents is not None and given_rows.sentence_starts is not None  # noqa: PT018
    assert made.ids.shape == (rows, reuse + pair + 3)
    for row in range(rows):
        own = given_rows.tokens[row].tolist()
        ids = made.ids[row].tolist()
        first, second = (place for place, token in enumerate(ids) if token == VOCABULARY["sep"])
        assert ids[:first] == own[:first]
        cut = first - reuse
        assert 1 <= cut < pair
        assert second == len(ids) - 2
        assert ids[-1] == VOCABULARY["cls"]
        begins = np.flatnonzero(given_rows.sentence_starts[row, reuse + 1 :]) + 1
        assert cut in begins if len(begins) else True
        after = ids[first + 1 : second]
        continues = after == own[first:]
        if not continues:
            assert share > 0 and given_rows.others is not None  # noqa: PT018
            assert after == given_rows.others.tokens[row, : pair - cut].tolist()
        assert continues or share
        assert made.segments[row].tolist() == [0] * (first + 1) + [1] * (second - first) + [2]
        documents = [(token - 10) // 90 for token in ids]  # of ordinary tokens
        documents[first], documents[second], documents[-1] = documents[first - 1], documents[second - 1], documents[second - 1]
        same = np.equal.outer(documents, documents)
        assert (np.equal.outer(made.documents[row], made.documents[row]) == same).all()
        starts = [token in (3, 4) or token % 2 == 0 for token in ids]
        assert made.word_starts[row].tolist() == starts


def test_half_of_the_second_segments_are_random_and_cuts_are_uniform() -> None:
    rows = text(1, 40, 20, 3)
    assert rows.sentence_starts is not None
    begins = np.flatnonzero(rows.sentence_starts[0, 21:]) + 1
    cuts, random = Counter[int](), 0
    for epoch in range(2000):
        made = segment_pairs(rows, VOCABULARY, keys(1, epoch), reuse=20, random_share=0.5)
        cut = int(made.ids[0].tolist().index(4)) - 20
        cuts[cut] += 1
        random += int(made.ids[0, 21 + cut] != rows.tokens[0, 20 + cut])
    assert random / 2000 == pytest.approx(0.5, abs=0.04)
    assert set(cuts) == set(begins.tolist())
    expected = 2000 / len(begins)
    assert sum((count - expected) ** 2 / expected for count in cuts.values()) < len(begins) + 5 * (2 * len(begins)) ** 0.5
