"""Spans of words to predict (Joshi et al. 2020, section 3.1, and the authors' code).

Until a row's budget of tokens is reached, the length of a span in words and a token are drawn. A token that is already chosen is
skipped; otherwise the span begins with the token's word. The last span is cut where the budget ends, even within a word. Spans
that overlap or touch are merged, so that the tokens beside a span are never masked themselves.

The authors choose in one segment of text between special tokens. Here a row may contain document ends: no span contains one, and
none has its boundary there.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from plmtrain.corruption.grouping import Indices, ranges
from plmtrain.keyed_random import Bits, as_integers, spread_at

_HALF = 2.0**32
_LOW = np.uint64(2**32 - 1)


class TokenText(Protocol):
    """The tokens of a text, such as an array of them."""

    def __len__(self) -> int: ...

    def __getitem__(self, places: Any, /) -> Any:
        """Return the tokens at some places.  # [n] -> [n]"""
        ...


@lru_cache(maxsize=16)
def length_limits(stop: float, longest: int) -> NDArray[np.uint64]:
    """Return the cumulative distribution of lengths 1, 2 ..., scaled to 32 random bits: geometric, truncated and renormalised.

    Args:
        stop: the probability that a span ends after any of its words.
        longest: the greatest length.

    Returns:
        [longest - 1]; a random number's length is one more than the count of limits that it reaches.
    """
    shares = (1 - stop) ** np.arange(longest)
    limits: NDArray[np.uint64] = np.round(np.cumsum(shares)[:-1] / shares.sum() * _HALF).astype(np.uint64)
    return limits


def choose_span_tokens(
    random: Bits, excluded: NDArray[np.bool_], word_starts: NDArray[np.bool_], budgets: Indices, limits: NDArray[np.uint64]
) -> Indices:
    """Choose tokens of random spans, as many of each row as its budget.

    A word goes from its first token to the next one that begins a word or is excluded.

    Args:
        random: [rows] one number each.
        excluded: [rows, length] tokens that must not be chosen, where spans end; the first and the last token of each row are.
        word_starts: [rows, length] whether a token begins a word.
        budgets: [rows] how many tokens to choose; where a row has fewer, all of them.
        limits: from ``length_limits``.

    Returns:
        [chosen] indices into rows * length, ascending.
    """
    rows, width = excluded.shape
    begins = word_starts | excluded
    begins[:, 1:] |= excluded[:, :-1]
    edges = np.flatnonzero(begins)  # where words and excluded tokens begin
    walls = np.flatnonzero(excluded)
    wall_edges = np.searchsorted(edges, walls)
    tokens = np.flatnonzero(~excluded)
    counts = width - np.count_nonzero(excluded, axis=1)
    offsets = np.cumsum(counts) - counts
    budgets = np.minimum(budgets, counts)

    # A turn is one draw of each row. Rows go on beyond their budget until all have reached theirs; the excess is cut at the end.
    turns, done = int(budgets.max(initial=0)) // 3 + 4, 0
    hidden = np.zeros((rows, width), np.bool_)
    spans = []
    unfilled = np.flatnonzero(budgets)
    while len(unfilled):
        drawn = spread_at(random[unfilled], np.arange(done, done + turns)[:, None])  # [turns, unfilled]
        anchor = tokens.take(offsets[unfilled] + as_integers(drawn, counts[unfilled]))
        word = np.searchsorted(edges, anchor, side="right") - 1
        words = 1 + np.searchsorted(limits, drawn & _LOW, side="right")
        first = edges.take(word)
        length = edges.take(np.minimum(word + words, wall_edges.take(np.searchsorted(walls, anchor)))) - first
        for turn in range(turns):
            free = np.flatnonzero(~hidden.reshape(-1).take(anchor[turn]))
            spans.append(ranges(first[turn].take(free), length[turn].take(free)))
            hidden.reshape(-1)[spans[-1]] = True
        unfilled = unfilled[np.count_nonzero(hidden[unfilled], axis=1) < budgets[unfilled]]
        done += turns
    return _cut(np.concatenate([tokens[:0], *spans]), width, budgets)


def _cut(spans: Indices, width: int, budgets: Indices) -> Indices:
    """Return the tokens that are masked before each row's budget is reached.

    Args:
        spans: [any number] of all rows in the order in which they are masked, with repetitions; indices into rows * length.
        width: the length.
        budgets: [rows] how many to keep.

    Returns:
        Indices, ascending.
    """
    spans = spans.take(np.argsort(spans // width, kind="stable"))
    row = spans // width
    turn = np.arange(len(spans))
    earliest = np.empty(len(budgets) * width, np.int64)
    earliest[spans[::-1]] = turn[::-1]
    new = earliest.take(spans) == turn
    each = np.bincount(row, new, len(budgets)).astype(np.int64)
    rank = np.cumsum(new) - (np.cumsum(each) - each).take(row)
    return np.sort(spans[new & (rank <= budgets.take(row))])


def runs(positions: Indices) -> tuple[Indices, Indices]:
    """Merge chosen tokens that touch into spans.

    Args:
        positions: [chosen] ascending.

    Returns:
        [spans] the first token of each; [spans] how many it has.
    """
    opens = np.ones(len(positions), np.bool_)
    opens[1:] = np.diff(positions) > 1
    begin = np.flatnonzero(opens)
    return positions.take(begin), np.diff(begin, append=len(positions))


def tokens_of(text: TokenText, random: Bits, is_special: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Draw tokens of a text that are not special, each in proportion to its frequency there.

    Args:
        text: [tokens], not all of them special.
        random: [n] one number each.
        is_special: [vocabulary].

    Returns:
        [n].
    """
    drawn = np.empty(len(random), np.int64)
    left = np.arange(len(random))
    turn = 0
    while len(left):
        # The high bits as a share of the text, which may be longer than 2**32 tokens.
        places = ((spread_at(random[left], np.full(len(left), turn)) >> np.uint64(11)) * 2.0**-53 * len(text)).astype(np.int64)
        drawn[left] = text[places]
        left = left[is_special.take(drawn[left])]
        turn += 1
    return drawn
