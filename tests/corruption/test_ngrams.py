"""Spans of words against ALBERT's own procedure, followed step by step, and against their distribution."""

from __future__ import annotations

import math
from itertools import chain
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plmtrain.corruption.framed_rows import FramedRows
from plmtrain.corruption.ngrams import NgramMasker, choose_ngrams
from plmtrain.keyed_random import Keys, bits
from plmtrain.settings.masking import MaskingSettings
from plmtrain.text.vocabulary import Vocabulary

VOCABULARY = Vocabulary(200, {"pad": 0, "unk": 1, "cls": 2, "sep": 3, "mask": 4}, (0, 1, 2, 3, 4))


def random(seed: int, rows: int, width: int) -> np.ndarray:
    return bits("test", Keys(seed, np.zeros(rows, np.int64), np.arange(rows)), width)


def words_of(excluded: np.ndarray, starts: np.ndarray) -> list[list[list[int]]]:
    """The stretches of a row that nothing excluded interrupts, each as words of places."""
    stretches: list[list[list[int]]] = [[]]
    for place, (out, start) in enumerate(zip(excluded, starts, strict=True)):
        if out:
            stretches.append([])
        elif start or not stretches[-1]:
            stretches[-1].append([place])
        else:
            stretches[-1][-1].append(place)
    return stretches


def albert(numbers: np.ndarray, excluded: np.ndarray, starts: np.ndarray, budget: int, longest: int) -> list[int]:
    """ALBERT's create_masked_lm_predictions, with our random numbers; spans end where a stretch does."""
    ngrams = []
    for words in words_of(excluded, starts):
        ngrams += [[words[index : index + n + 1] for n in range(longest)] for index in range(len(words))]
    ngrams.sort(key=lambda sets: int(numbers[sets[0][0][0]]) >> 32)
    shares = np.cumsum(1 / np.arange(1, longest + 1)) / np.sum(1 / np.arange(1, longest + 1))
    chosen: list[int] = []
    for sets in ngrams:
        if len(chosen) >= budget:
            break
        n = int(np.sum((int(numbers[sets[0][0][0]]) & (2**32 - 1)) >= np.round(shares * 2.0**32)))
        places = list(chain.from_iterable(sets[n]))
        while len(chosen) + len(places) > budget and n > 0:
            n -= 1
            places = list(chain.from_iterable(sets[n]))
        if len(chosen) + len(places) > budget or set(places) & set(chosen):
            continue
        chosen += places
    return sorted(chosen)


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    rows=st.integers(1, 5),
    width=st.integers(1, 50),
    longest=st.integers(1, 4),
    starting=st.sampled_from([0.2, 0.6, 1.0]),
)
def test_as_in_alberts_code(seed: int, rows: int, width: int, longest: int, starting: float) -> None:
    draw = np.random.default_rng(seed)
    excluded = draw.random((rows, width)) < 0.15
    starts = draw.random((rows, width)) < starting
    budgets = draw.integers(0, width + 1, rows)
    numbers = random(seed, rows, width)
    found = choose_ngrams(numbers.copy(), excluded, starts, budgets, longest)
    for row in range(rows):
        own = (found[found // width == row] % width).tolist()
        # A row that begins within a word: the rest of it counts as a word.
        assert own == albert(numbers[row], excluded[row], starts[row], int(budgets[row]), longest)
        assert len(own) <= budgets[row]
        assert not excluded[row][own].any()


def test_how_long_spans_are() -> None:
    """6/11, 3/11 and 2/11 (Lan et al. 2020, section 4.1), where there is one span in a row and room for all."""
    rows, width = 30_000, 41
    excluded = np.zeros((rows, width), np.bool_)
    found = choose_ngrams(random(1, rows, width), excluded, np.ones_like(excluded), np.full(rows, 3), 3)
    # The first span of each row, whichever its length, is told by the row's first number.
    first = random(1, rows, width)
    head = (first >> np.uint64(32)).argmin(axis=1)
    inner = head < width - 3
    taken = np.zeros((rows, width + 4), np.bool_)
    taken[found // width, found % width] = True
    rest = np.flatnonzero(inner)
    low = (first[rest, head[rest]] & np.uint64(2**32 - 1)).astype(np.float64) / 2**32
    lengths = 1 + (low >= 6 / 11) + (low >= 9 / 11)
    for length, share in ((1, 6 / 11), (2, 3 / 11), (3, 2 / 11)):
        count = np.sum(lengths == length)
        assert abs(count / len(rest) - share) < 4 * math.sqrt(share * (1 - share) / len(rest))
    # A span of three fills the budget: exactly those three places are taken.
    three = rest[lengths == 3]
    assert np.array_equal(taken[three].sum(axis=1), np.full(len(three), 3))
    for step in range(3):
        assert taken[three, head[three] + step].all()


def masker(**given: Any) -> NgramMasker:
    return NgramMasker(MaskingSettings(whole_words=True, **given), VOCABULARY, 3)


def framed(seed: int, rows: int, width: int, word: float = 0.7) -> FramedRows:
    draw = np.random.default_rng(seed)
    ids = draw.integers(5, 200, (rows, width))
    ids[:, 0], ids[:, -1], ids[:, width // 2] = 2, 3, 3
    starts = (draw.random((rows, width)) < word) | VOCABULARY.is_special[ids]
    return FramedRows(ids=ids, word_starts=starts, lengths=np.full(rows, width))


def keys(rows: int, epoch: int = 0) -> Keys:
    return Keys(3, np.full(rows, epoch, np.int64), np.arange(rows))


def test_rates_and_replacement() -> None:
    rows = framed(0, 600, 128)
    masked = masker(random_tokens="all").__call__(rows, keys(600))
    budget = 600 * round(0.15 * 128)
    assert 0.99 * budget <= len(masked.positions) <= budget
    read = masked.ids.reshape(-1)[masked.positions]
    hidden, kept = np.mean(read == 4), np.mean(read == masked.labels)
    assert abs(hidden - 0.8 - 0.1 / 200) < 4 * math.sqrt(0.16 / len(read))
    assert abs(kept - 0.1 - 0.1 / 200) < 4 * math.sqrt(0.09 / len(read))
    assert not VOCABULARY.is_special[masked.labels].any()
    original = masked.ids.copy()
    original.reshape(-1)[masked.positions] = masked.labels
    assert np.array_equal(original, rows.ids)


def test_words_are_whole_and_spans_are_longer_than_words() -> None:
    rows = framed(1, 300, 128)
    masked = masker(mask_share=1.0, random_share=0.0)(rows, keys(300))
    taken = np.zeros(rows.ids.shape, np.bool_)
    taken.reshape(-1)[masked.positions] = True
    special = VOCABULARY.is_special[rows.ids]
    inside = ~rows.word_starts & ~special
    inside[:, 1:] &= ~special[:, :-1]
    assert np.array_equal(taken[:, 1:][inside[:, 1:]], taken[:, :-1][inside[:, 1:]])
    both = np.sum(taken[:, 1:] & taken[:, :-1] & rows.word_starts[:, 1:]) / np.sum(taken[:, 1:] & rows.word_starts[:, 1:])
    assert both > 0.3, "words are predicted beside words"


def test_masks_are_static_by_copies() -> None:
    rows = framed(2, 20, 64)
    once = masker(copies=1)
    assert np.array_equal(once(rows, keys(20)).ids, once(rows, keys(20, epoch=5)).ids)
    anew = masker()
    assert not np.array_equal(anew(rows, keys(20)).ids, anew(rows, keys(20, epoch=5)).ids)


def test_tokens_count_as_words_where_asked() -> None:
    rows = framed(3, 200, 64, word=0.3)
    masked = NgramMasker(MaskingSettings(whole_words=False), VOCABULARY, 1)(rows, keys(200))
    assert len(masked.positions) == 200 * 10, "single tokens fill every budget"
    begins = rows.word_starts.reshape(-1)[masked.positions]
    assert begins.mean() == pytest.approx(0.3, abs=0.05)
