"""Spans and orders of prediction, against the authors' procedure walked through in plain Python, and by their statistics."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise, permutations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from plmtrain.corruption.prediction_order import CONTEXT, choose_target_spans, fill_up, in_turn, permuted_ranks
from plmtrain.keyed_random import Keys, as_integers, as_uniform, row_bits, spread


def numbers(rows: int, purpose: str = "test", seed: int = 5) -> NDArray[np.uint64]:
    return row_bits(purpose, Keys(seed, np.zeros(rows, np.int64), np.arange(rows)))


def walk(
    random: NDArray[np.uint64], starts: list[bool], excluded: list[bool], budget: int, context: int, longest: int
) -> list[tuple[int, int]]:
    """The spans of one row by the loop of the authors' code, with a number for each turn of it."""
    shares = [1 / n / sum(1 / m for m in range(1, longest + 1)) for n in range(1, longest + 1)]
    spans: list[tuple[int, int]] = []
    at, found, turn = 0, 0, 0
    while at < len(starts) and found < budget:
        share, n = float(as_uniform(random[turn : turn + 1])[0]), 1
        while n < longest and share >= sum(shares[:n]):
            n += 1
        n = min(n, budget - found)
        window = n * context
        left = int(as_integers(random[turn : turn + 1] << np.uint64(32), window)[0])
        begin = at + left
        while begin < len(starts) and (excluded[begin] or not starts[begin]):
            begin += 1
        if begin + n >= len(starts):
            break
        spans.append((begin, begin + n))
        found += sum(not excluded[place] for place in range(begin, begin + n))
        at, turn = begin + n + window - left, turn + 1
    return spans


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    length=st.integers(1, 70),
    budget=st.integers(0, 20),
    context=st.integers(2, 8),
    longest=st.integers(1, 6),
)
def test_spans_are_those_of_the_authors_loop(seed: int, length: int, budget: int, context: int, longest: int) -> None:
    draw = np.random.default_rng(seed)
    starts, excluded = draw.random((4, length)) < 0.6, draw.random((4, length)) < 0.1
    budgets = np.minimum([budget, budget, 1, 0], (~excluded).sum(1))
    random = numbers(4, seed=seed)
    chosen = choose_target_spans(random, starts, excluded, budgets, context=context, longest=longest)
    turns = spread(random, length + 1)
    for row in range(4):
        expected = np.zeros(length, np.bool_)
        spans = walk(turns[row], starts[row].tolist(), excluded[row].tolist(), int(budgets[row]), context, longest)
        for begin, end in spans:
            expected[begin:end] = True
        assert chosen[row].tolist() == (expected & ~excluded[row]).tolist()
        assert all(behind[0] >= before[1] for before, behind in pairwise(spans))

    whole = fill_up(numbers(4, "fill", seed), chosen, excluded, budgets)
    assert whole.sum(1).tolist() == budgets.tolist()
    assert not (whole & excluded).any()
    assert (whole | ~chosen).all()


def test_spans_have_the_lengths_and_places_of_the_paper() -> None:
    """The first span of a row: n with a probability in proportion to 1 / n, the context to its left uniform in [0, n K)."""
    rows, context = 40_000, 6
    every = np.ones((rows, 60), np.bool_)
    chosen = choose_target_spans(numbers(rows), every, ~every, np.full(rows, 40), context=context, longest=5)
    begin = chosen.argmax(axis=1)
    # Some context lies to the right of every span, so that spans never touch where every token begins a word.
    length = (~np.take_along_axis(chosen, begin[:, None] + np.arange(6), axis=1)).argmax(axis=1)
    found = np.bincount(length, minlength=6)[1:]
    expected = rows / np.arange(1, 6) / (1 / np.arange(1, 6)).sum()
    assert ((found - expected) ** 2 / expected).sum() < 4 + 5 * 8**0.5
    for n in (1, 2, 3, 4, 5):
        places = np.bincount(begin[length == n], minlength=n * context)
        assert len(places) == n * context
        uniform = places.sum() / len(places)
        assert ((places - uniform) ** 2 / uniform).sum() < len(places) + 5 * (2 * len(places)) ** 0.5


def test_about_one_token_in_k_is_in_a_span_and_the_rest_is_single() -> None:
    rows, length, budget = 2000, 512, 85
    every = np.ones((rows, length), np.bool_)
    chosen = choose_target_spans(numbers(rows), every, ~every, np.full(rows, budget), context=6, longest=5)
    assert 0.8 * budget < chosen.sum(1).mean() <= budget
    assert fill_up(numbers(rows, "fill"), chosen, ~every, np.full(rows, budget)).sum(1).tolist() == [budget] * rows


def test_a_row_does_not_depend_on_its_batch() -> None:
    draw = np.random.default_rng(1)
    starts, excluded, budgets = draw.random((30, 50)) < 0.7, draw.random((30, 50)) < 0.1, draw.integers(0, 12, 30)
    random = numbers(30)
    together = choose_target_spans(random, starts, excluded, budgets, context=4, longest=5)
    order = permuted_ranks(random, together, 20)
    for row in range(30):
        one = slice(row, row + 1)
        alone = choose_target_spans(random[one], starts[one], excluded[one], budgets[one], context=4, longest=5)
        assert alone[0].tolist() == together[row].tolist()
        assert permuted_ranks(random[one], alone, 20)[0].tolist() == order[row].tolist()


@given(seed=st.integers(0, 2**32), length=st.integers(0, 40), window=st.integers(1, 50))
def test_ranks_stay_in_their_windows(seed: int, length: int, window: int) -> None:
    ordered = np.random.default_rng(seed).random((3, length)) < 0.5
    ranks = permuted_ranks(numbers(3, seed=seed), ordered, window)
    assert ranks.shape == (3, length)
    for row in range(3):
        assert (ranks[row][~ordered[row]] == CONTEXT).all()
        for first in range(0, length, window):
            part = slice(first, first + window)
            found = ranks[row, part][ordered[row, part]]
            assert len(set(found)) == len(found)
            assert ((first <= found) & (found < min(length, first + window))).all()


def test_orders_are_uniform() -> None:
    ranks = permuted_ranks(numbers(12_000), np.ones((12_000, 8), np.bool_), 4)
    for part, first in ((slice(0, 4), 0), (slice(4, 8), 4)):
        counts = Counter(map(tuple, (ranks[:, part] - first).tolist()))
        assert set(counts) == set(permutations(range(4)))
        assert sum((count - 500) ** 2 / 500 for count in counts.values()) < 23 + 5 * 46**0.5


def test_visibility_is_that_of_the_papers_definition() -> None:
    """For each position in the order, a target sees what comes before it; checked pair by pair for short rows."""
    draw = np.random.default_rng(3)
    for trial in range(200):
        first, second, window = int(draw.integers(0, 6)), int(draw.integers(1, 7)), int(draw.integers(1, 8))
        kinds = draw.choice(["context", "target", "frame"], first + second)
        ordered = (kinds != "context")[None]
        random = numbers(2, seed=trial)
        parts = [permuted_ranks(random[:1], ordered[:, :first], window), permuted_ranks(random[1:], ordered[:, first:], window)]
        ranks = in_turn(*parts)[0]
        part = [0] * first + [1] * second
        own = [*parts[0][0], *parts[1][0]]
        for i in range(first + second):
            for j in range(first + second):
                if part[i] != part[j]:
                    sees = part[j] < part[i]  # what is behind sees all of the stretch, the stretch nothing of it
                elif kinds[j] == "context":
                    sees = True
                elif kinds[i] == "context":
                    sees = False
                else:
                    sees = i == j or own[j] < own[i]  # the content stream knows its own token
                assert (ranks[j] <= ranks[i]) == sees
                if kinds[i] == "target":
                    assert (ranks[j] < ranks[i]) == (sees and i != j)  # the query stream does not
