"""Whole-word choice against BERT's rule written out as a loop."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from plmtrain.corruption.words import choose_words
from plmtrain.keyed_random import Keys, orders, row_bits


def words_of(excluded: NDArray[np.bool_], word_starts: NDArray[np.bool_]) -> list[list[int]]:
    """The words of one row, each as its positions."""
    words: list[list[int]] = []
    for position in range(len(excluded)):
        if excluded[position]:
            continue
        if position == 0 or word_starts[position] or excluded[position - 1]:
            words.append([])
        words[-1].append(position)
    return words


def greedy(order: NDArray[np.uint32], words: list[list[int]], budget: int) -> list[int]:
    """The loop of create_pretraining_data.py over words in the order of their random numbers."""
    chosen: list[int] = []
    for word in sorted(words, key=lambda word: order[word[0]]):
        if len(chosen) >= budget:
            break
        if len(chosen) + len(word) > budget:
            continue
        chosen += word
    return sorted(chosen)


def check(random: NDArray[np.uint32], excluded: NDArray[np.bool_], starts: NDArray[np.bool_], budgets: NDArray[np.int64]) -> None:
    width = random.shape[1]
    expected = [
        row * width + position
        for row in range(len(random))
        for position in greedy(random[row], words_of(excluded[row], starts[row]), int(budgets[row]))
    ]
    found = choose_words(random.copy(), excluded, starts, budgets)
    assert found.dtype == np.int64
    assert found.tolist() == expected


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    rows=st.integers(1, 6),
    width=st.integers(1, 90),
    starting=st.floats(0, 1),
    excluding=st.sampled_from([0.0, 0.05, 0.5, 1.0]),
    most=st.floats(0, 1.2),
)
def test_any_row_is_masked_as_the_loop_does(
    seed: int, rows: int, width: int, starting: float, excluding: float, most: float
) -> None:
    draw = np.random.default_rng(seed)
    random = orders(row_bits("test", Keys(seed, np.zeros(rows, np.int64), np.arange(rows))), width)
    excluded = draw.random((rows, width)) < excluding
    starts = draw.random((rows, width)) < starting
    check(random, excluded, starts, draw.integers(0, int(width * most) + 1, rows))


@pytest.mark.parametrize(("starting", "share"), [(0.75, 0.15), (0.3, 0.15), (0.05, 0.15), (1.0, 0.15), (0.5, 0.6)])
def test_rows_of_a_real_size_are_masked_as_the_loop_does(starting: float, share: float) -> None:
    rows, width = 40, 256
    draw = np.random.default_rng(5)
    random = orders(row_bits("test", Keys(5, np.zeros(rows, np.int64), np.arange(rows))), width)
    check(
        random,
        draw.random((rows, width)) < 0.01,
        draw.random((rows, width)) < starting,
        np.full(rows, round(width * share)),
    )


def test_words_are_never_cut_even_where_none_fits() -> None:
    random = orders(row_bits("test", Keys(1, np.zeros(3, np.int64), np.arange(3))), 60)
    starts = np.zeros((3, 60), np.bool_)
    starts[:, ::5] = True  # words of five tokens
    found = choose_words(random, np.zeros_like(starts), starts, np.array([4, 9, 10]))
    assert np.bincount(found // 60, minlength=3).tolist() == [0, 5, 10]
    assert np.all(np.diff(found.reshape(-1, 5), axis=1) == 1)


def test_every_word_is_as_likely_where_all_are_as_long() -> None:
    rows, width = 4000, 20
    random = orders(row_bits("test", Keys(2, np.zeros(rows, np.int64), np.arange(rows))), width)
    starts = np.zeros((rows, width), np.bool_)
    starts[:, ::2] = True
    found = choose_words(random, np.zeros_like(starts), starts, np.full(rows, 4))
    times = np.bincount(found % width, minlength=width)[::2]
    assert times.sum() == rows * 2
    expected = rows * 2 / 10
    # 9 degrees of freedom; drawing without replacement only narrows the spread. 27.9 is beyond the 99.9th percentile.
    assert ((times - expected) ** 2 / expected).sum() < 27.9
