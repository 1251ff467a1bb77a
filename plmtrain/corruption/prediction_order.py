"""The targets of permutation language modelling and their order (Yang et al. 2019, sections 2.2 and 2.3; the authors' code,
``data_utils.py``).

About one token in K is a target. Targets are chosen as spans amid context and predicted in a random order; all other tokens are
context that every target sees.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from plmtrain.corruption.masking import choose_tokens
from plmtrain.keyed_random import Bits, as_integers, as_uniform, orders, spread, spread_at

CONTEXT = -1
"""The rank of tokens that are not predicted: every target sees them, and they see only each other."""

_LOW = np.uint64(32)


def choose_target_spans(
    random: Bits,
    starts: NDArray[np.bool_],
    excluded: NDArray[np.bool_],
    budgets: NDArray[np.int64],
    *,
    context: int,
    longest: int,
) -> NDArray[np.bool_]:
    """Choose spans from left to right, as many as fit the budget of a row.

    A span of n tokens lies in a window of n * context tokens: a uniformly drawn part of the window comes before the span, which
    then begins at the next word; the rest of the window comes after it. n is drawn from 1 ... longest with probability
    proportional to 1/n, and is at most what is left of the budget. A span that would reach the end of the row is not taken, and
    ends the row's spans.

    Args:
        random: [rows] one number each.
        starts: [rows, length] whether a token begins a word.
        excluded: [rows, length] tokens that must not be predicted: no span begins there, and within a span they are skipped.
        budgets: [rows] the most tokens to choose.
        context: tokens of a window for each token of its span (K in section 2.3).
        longest: the longest span.

    Returns:
        [rows, length] the chosen tokens: nearly as many as the budget.
    """
    rows, length = starts.shape
    chosen = np.zeros((rows, length + 1), np.int8)  # +1 where a span begins, -1 after its end
    opening = _next(starts & ~excluded)
    counted = np.zeros((rows, length + 1), np.int64)  # predictable tokens before each place
    np.cumsum(~excluded, axis=1, out=counted[:, 1:])
    shares = np.cumsum(1 / np.arange(1, longest + 1))
    shares /= shares[-1]

    row = np.flatnonzero(budgets > 0)
    at, left = np.zeros(len(row), np.int64), budgets[row]
    turn = 0
    while len(row):
        drawn = spread_at(random[row], np.full(len(row), turn))
        spans = np.minimum(1 + np.searchsorted(shares, as_uniform(drawn), side="right"), left)
        windows = spans * context
        before = as_integers(drawn << _LOW, windows)
        begin = opening[row, np.minimum(at + before, length)]
        end = begin + spans
        fits = end < length
        row, begin, end = row[fits], begin[fits], end[fits]
        chosen[row, begin] += 1
        chosen[row, end] -= 1
        left = left[fits] - (counted[row, end] - counted[row, begin])
        at = end + (windows - before)[fits]
        on = left > 0
        row, at, left = row[on], at[on], left[on]
        turn += 1
    return (np.cumsum(chosen[:, :-1], axis=1) > 0) & ~excluded


def fill_up(
    random: Bits, chosen: NDArray[np.bool_], excluded: NDArray[np.bool_], budgets: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Add single random tokens to a choice until the budget is met exactly, or all tokens are chosen.

    Args:
        random: [rows] one number each.
        chosen: [rows, length] the tokens already chosen, at most the budget.
        excluded: [rows, length] tokens that must not be chosen.
        budgets: [rows] how many tokens to choose in all.
    """
    missing = budgets - chosen.sum(axis=1)
    filled = chosen.copy()
    filled.reshape(-1)[choose_tokens(orders(random, chosen.shape[1]), excluded | chosen, missing)] = True
    return filled


def _next(marks: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the first mark at or after each place; the length where there is none.  # [rows, length] -> [rows, length + 1]"""
    rows, length = marks.shape
    places = np.full((rows, length + 1), length, np.int64)
    np.copyto(places[:, :-1], np.arange(length), where=marks)
    return np.minimum.accumulate(places[:, ::-1], axis=1)[:, ::-1]


def permuted_ranks(random: Bits, ordered: NDArray[np.bool_], window: int) -> NDArray[np.int64]:
    """Draw the order in which the tokens of a row are predicted.

    Args:
        random: [rows] one number each.
        ordered: [rows, length] the tokens with a place in the order: targets, and the tokens that frame the text.
        window: places that are permuted among each other; windows follow one another from left to right.

    Returns:
        [rows, length] different numbers from 0 to length - 1 where ordered, within a window a uniform permutation;
        ``CONTEXT`` elsewhere.
    """
    rows, length = ordered.shape
    if not length:
        return np.empty((rows, 0), np.int64)
    window = min(window, length)
    windows = -(-length // window)
    numbers = spread(random, windows * window)
    numbers[:, length:] = np.uint64(2**64 - 1)  # the last window may be short: its missing places sort last
    numbers = numbers.reshape(rows, windows, window)
    order = np.empty(numbers.shape, np.int64)
    np.put_along_axis(order, numbers.argsort(axis=2), np.arange(window), axis=2)
    order += (np.arange(windows) * window)[:, None]
    return np.where(ordered, order.reshape(rows, -1)[:, :length], CONTEXT)


def in_turn(first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.int64]:
    """Join the ranks of two parts of a row, where the second part sees all of the first, and the first none of the second.

    Args:
        first, second: [rows, part] the ranks of each part by itself.

    Returns:
        [rows, row].
    """
    return np.concatenate([first, second + (first.shape[1] - CONTEXT)], axis=1)
