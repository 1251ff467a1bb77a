"""Budgets, choices and replacements against the rules of BERT's and RoBERTa's code."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plmtrain.corruption.masking import Replacement, choose_tokens, rounded_budgets, stochastic_budgets
from plmtrain.keyed_random import Keys, as_uniform, orders, row_bits

CRITICAL_999 = {1: 10.83, 2: 13.82, 19: 43.82, 49: 85.35}
"""The 99.9th percentiles of the chi-square distribution, by degrees of freedom."""


def keys(rows: int, epoch: int = 0, seed: int = 3) -> Keys:
    return Keys(seed, np.full(rows, epoch, np.int64), np.arange(rows))


@given(length=st.integers(0, 10_000), share=st.sampled_from([0.15, 0.1, 0.25, 0.3, 0.4, 0.5]))
def test_rounded_budgets_are_those_of_the_original_expression(length: int, share: float) -> None:
    assert rounded_budgets(np.array([length]), share)[0] == max(1, round(length * share))


def test_halves_go_to_the_even_number() -> None:
    assert rounded_budgets(np.array([30, 50, 70]), 0.15).tolist() == [round(4.5), round(7.5), round(10.5)] == [4, 8, 10]


def test_stochastic_budgets_are_whole_numbers_around_the_share_with_the_right_mean() -> None:
    lengths = np.full(40_000, 130)  # 19.5 on average
    budgets = stochastic_budgets(lengths, 0.15, as_uniform(row_bits("test", keys(len(lengths)))))
    assert set(budgets.tolist()) == {19, 20}
    assert budgets.mean() == pytest.approx(19.5, abs=4 * 0.5 / 200)
    assert stochastic_budgets(np.array([3, 3]), 0.15, np.array([0.0, 0.56])).tolist() == [0, 1]  # none is allowed


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    rows=st.integers(1, 6),
    width=st.integers(1, 80),
    excluding=st.sampled_from([0.0, 0.1, 0.9, 1.0]),
    same=st.booleans(),
)
def test_budgets_are_exact_and_excluded_tokens_untouched(seed: int, rows: int, width: int, excluding: float, same: bool) -> None:
    draw = np.random.default_rng(seed)
    excluded = draw.random((rows, width)) < excluding
    budgets = np.full(rows, draw.integers(0, width + 3)) if same else draw.integers(0, width + 3, rows)
    chosen = choose_tokens(orders(row_bits("test", keys(rows, seed=seed)), width), excluded, budgets)
    assert np.all(np.diff(chosen) > 0)
    assert not excluded.reshape(-1)[chosen].any()
    expected = np.minimum(budgets, (~excluded).sum(axis=1))
    assert np.bincount(chosen // width, minlength=rows).tolist() == expected.tolist()


def test_every_position_and_every_pair_of_neighbours_is_as_likely() -> None:
    rows, width, budget = 20_000, 50, 8
    chosen = choose_tokens(orders(row_bits("test", keys(rows)), width), np.zeros((rows, width), np.bool_), np.full(rows, budget))
    flags = np.zeros((rows, width))
    flags.reshape(-1)[chosen] = 1
    expected = rows * budget / width
    assert ((flags.sum(axis=0) - expected) ** 2 / expected).sum() < CRITICAL_999[49]
    together = budget * (budget - 1) / (width * (width - 1))  # without replacement
    pairs = (flags[:, :-1] * flags[:, 1:]).mean()
    assert pairs == pytest.approx(together, abs=4 * (together / (rows * (width - 1))) ** 0.5)


def test_a_token_is_masked_swapped_or_kept_in_the_given_shares() -> None:
    n, vocabulary = 200_000, 20
    originals = np.full(n, 7, np.int64)
    replacement = Replacement(mask=1, mask_share=0.8, random_share=0.1, random_ids=np.arange(100, 100 + vocabulary))
    shown = replacement(originals, row_bits("test", keys(n)))
    assert np.all(originals == 7)
    counts = np.array([np.sum(shown == 1), np.sum(shown >= 100), np.sum(shown == 7)])
    assert counts.sum() == n
    expected = n * np.array([0.8, 0.1, 0.1])
    assert ((counts - expected) ** 2 / expected).sum() < CRITICAL_999[2]
    swapped = np.bincount(shown[shown >= 100] - 100, minlength=vocabulary)
    each = swapped.sum() / vocabulary
    assert ((swapped - each) ** 2 / each).sum() < CRITICAL_999[vocabulary - 1]


@pytest.mark.parametrize(("mask_share", "random_share", "kinds"), [(1.0, 0.0, {1}), (0.0, 1.0, {9}), (0.0, 0.0, {7})])
def test_shares_of_all_and_none_are_exact(mask_share: float, random_share: float, kinds: set[int]) -> None:
    replacement = Replacement(mask=1, mask_share=mask_share, random_share=random_share, random_ids=np.array([9]))
    extremes = np.array([0, 2**32 - 1, 2**64 - 1], np.uint64)
    shown = replacement(np.full(1003, 7), np.append(row_bits("test", keys(1000)), extremes))
    assert set(shown.tolist()) == kinds
