"""Text infilling (Lewis et al. 2020, section 2.2): spans of words, each replaced by one mask, chosen as in the authors' code."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from plmtrain.corruption.grouping import Indices, share_of
from plmtrain.corruption.masking import choose_tokens
from plmtrain.keyed_random import Bits, as_integers, orders, spread


@dataclass(frozen=True, kw_only=True)
class InfilledSpans:
    """The spans that are cut out of some rows.

    Args:
        first: [spans] the first token of each, an index into rows * length, ascending.
        end: [spans] the token after its last one.
        words: [spans] how many words it has.
        empty: [rows] how many spans have no words: masks to insert.
    """

    first: Indices
    end: Indices
    words: Indices
    empty: Indices


@lru_cache(maxsize=16)
def _poisson(mean: float) -> NDArray[np.uint64]:
    """Return the cumulative distribution, scaled to 64 random bits, up to where it rounds to one."""
    total, term, count, thresholds = 0.0, math.exp(-mean), 0, []
    while count <= mean or term > 2.0**-60:
        total += term
        thresholds.append(min(int(total * 2.0**64), 2**64 - 1))
        count += 1
        term *= mean / count
    return np.array(thresholds, np.uint64)


def draw_lengths(random: Bits, budgets: Indices, mean: float) -> tuple[Indices, Indices, Indices]:
    """Draw lengths from a Poisson distribution until they reach each row's budget, and cut the last one to fit it.

    Args:
        random: [rows] numbers.
        budgets: [rows] the sum of a row's lengths.
        mean: of the distribution.

    Returns:
        [spans] the lengths above zero, row by row as drawn; [rows] how many each row has; [rows] how many were zero.
    """
    thresholds = _poisson(mean)
    columns = int(budgets.max(initial=0) / mean * 1.25) + 8
    while True:
        drawn = np.searchsorted(thresholds, spread(random, columns), side="right")  # [rows, columns]
        before = np.cumsum(drawn, axis=1) - drawn
        if np.all(before[:, -1] + drawn[:, -1] >= budgets):
            break
        columns *= 2
    used = before < budgets[:, None]
    spans = used & (drawn > 0)
    lengths = np.minimum(drawn, budgets[:, None] - before)[spans]
    counts = np.sum(spans, axis=1)
    return lengths, counts, np.sum(used, axis=1) - counts


def choose_infilled_spans(
    word_starts: NDArray[np.bool_], fixed: NDArray[np.bool_], share: float, mean: float, lengths: Bits, places: Bits, last: Bits
) -> InfilledSpans:
    """Choose spans that hold a share of each row's words, rounded up; no two of them touch.

    Each span begins at a different word and goes on for as many words as its length says, or up to the next fixed token.
    Overlapping spans are merged, so that fewer words than the share are hidden, as in the authors' code.

    Args:
        word_starts: [rows, length] whether a token begins a word.
        fixed: [rows, length] tokens that no span crosses, among them the first and the last of each row.
        share: of the words.
        mean: of the lengths' distribution.
        lengths, places, last: [rows] random numbers for the lengths, the places, and which span gets the length that was cut.
    """
    width = fixed.shape[1]
    words = word_starts & ~fixed
    wanted, counts, empty = draw_lengths(lengths, share_of(np.sum(words, axis=1), share), mean)
    first = choose_tokens(orders(places, width), ~words, counts)
    _shuffle_last(wanted, counts, last)

    edges = np.flatnonzero(words | fixed)  # where words and fixed tokens begin
    walls = np.flatnonzero(fixed)
    at = np.searchsorted(edges, first)
    wall = np.searchsorted(edges, walls).take(np.searchsorted(walls, first))
    reach = np.maximum.accumulate(np.minimum(at + wanted, wall))
    opens = np.ones(len(at), np.bool_)
    opens[1:] = at[1:] >= reach[:-1]
    closes = np.append(opens[1:], True)[: len(at)]
    begin, end = at[opens], reach[closes]
    return InfilledSpans(first=edges.take(begin), end=edges.take(end), words=end - begin, empty=empty)


def _shuffle_last(lengths: Indices, counts: Indices, random: Bits) -> None:
    """Give the last length of each row, the one that was cut, to a random span; the others are identically distributed."""
    some = np.flatnonzero(counts)
    ends = np.cumsum(counts)[some]
    chosen = ends - 1 - as_integers(random[some], counts[some])
    lengths[chosen], lengths[ends - 1] = lengths[ends - 1], lengths[chosen]
