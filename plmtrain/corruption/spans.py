"""Spans of words to predict (Joshi et al. 2020, section 3.1, and the authors' code).

Until a row's budget of tokens is reached, the length of a span is drawn, in words, and a token, which is passed over if it is
hidden already; the span begins with that token's word. The last one is cut where the budget ends, be it within a word. Spans that
overlap or touch are one, so that the tokens beside a span are never hidden themselves.

The authors choose in one segment of text between special tokens. Here a row may have document ends in it: no span holds one, and
none has its boundary there.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from plmtrain.corruption.grouping import Indices, ranges
from plmtrain.keyed_random import Bits, as_integers, spread_at

_HALF = 2.0**32
_LOW = np.uint64(2**32 - 1)


@lru_cache(maxsize=16)
def length_limits(stop: float, longest: int) -> NDArray[np.uint64]:
    """The cumulative distribution of lengths 1, 2 ... on the scale of 32 random bits: geometric, cut off and scaled to one.

    Args:
        stop: the probability that a span ends after any of its words.
        longest: the greatest length.

    Returns:
        [longest - 1]; a number's length is one more than how many of these it reaches.
    """
    shares = (1 - stop) ** np.arange(longest)
    limits: NDArray[np.uint64] = np.round(np.cumsum(shares)[:-1] / shares.sum() * _HALF).astype(np.uint64)
    return limits


def choose_spans(
    random: Bits, excluded: NDArray[np.bool_], word_starts: NDArray[np.bool_], budgets: Indices, limits: NDArray[np.uint64]
) -> Indices:
    """Tokens of random spans, as many of each row as its budget.

    A word goes from its first token to the next one that begins a word or is excluded.

    Args:
        random: [rows] one number each.
        excluded: [rows, length] what must not be chosen, where spans end; the first and the last token of each row are.
        word_starts: [rows, length] whether a token begins a word.
        budgets: [rows] how many tokens to choose; all there are, where a row has fewer.
        limits: from ``length_limits``.

    Returns:
        [chosen] indices into rows * length, ascending.
    """
    begins = word_starts | excluded
    begins[:, 1:] |= excluded[:, :-1]
    edges = np.flatnonzero(begins)  # where words and excluded tokens begin
    walls = np.flatnonzero(excluded)
    wall_edges = np.searchsorted(edges, walls)
    tokens = np.flatnonzero(~excluded)
    counts = excluded.shape[1] - np.count_nonzero(excluded, axis=1)
    offsets = np.cumsum(counts) - counts
    chosen = np.zeros(excluded.size, np.bool_)

    room = np.minimum(budgets, counts)
    rows = np.flatnonzero(room)
    room = room[rows]
    turn = 0
    while len(rows):  # one span of each row that has room
        drawn = spread_at(random[rows], np.full(len(rows), turn))
        turn += 1
        anchor = tokens.take(offsets[rows] + as_integers(drawn, counts[rows]))
        free = np.flatnonzero(~chosen[anchor])
        anchor = anchor[free]
        word = np.searchsorted(edges, anchor, side="right") - 1
        words = 1 + np.searchsorted(limits, drawn[free] & _LOW, side="right")
        first = edges.take(word)
        length = edges.take(np.minimum(word + words, wall_edges.take(np.searchsorted(walls, anchor)))) - first
        span = ranges(first, length)
        # Only what is not chosen yet takes room, from left to right as far as it goes.
        new = ~chosen[span]
        total = np.cumsum(new)
        behind = np.cumsum(length)
        before = total[behind - length] - new[behind - length]
        new &= total - np.repeat(before, length) <= np.repeat(room[free], length)
        chosen[span[new]] = True
        if len(free):
            room[free] -= np.add.reduceat(new, behind - length, dtype=np.int64)
        left = room > 0
        rows, room = rows[left], room[left]
    return np.flatnonzero(chosen)


def runs(positions: Indices) -> tuple[Indices, Indices]:
    """The spans that chosen tokens make up where those that touch are one.

    Args:
        positions: [chosen] ascending.

    Returns:
        [spans] the first token of each; [spans] how many it has.
    """
    opens = np.ones(len(positions), np.bool_)
    opens[1:] = np.diff(positions) > 1
    begin = np.flatnonzero(opens)
    return positions.take(begin), np.diff(begin, append=len(positions))


def tokens_of(text: NDArray[np.unsignedinteger], random: Bits, is_special: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Random tokens of a text, none of them special: each comes as often as it stands there.

    Args:
        text: [tokens] of which some are not special.
        random: [n] one number each.
        is_special: [vocabulary].

    Returns:
        [n].
    """
    drawn = np.empty(len(random), np.int64)
    left = np.arange(len(random))
    turn = 0
    while len(left):
        # The high bits as a share of the text, which may well be longer than 2**32 tokens.
        places = ((spread_at(random[left], np.full(len(left), turn)) >> np.uint64(11)) * 2.0**-53 * len(text)).astype(np.int64)
        drawn[left] = text[places]
        left = left[is_special.take(drawn[left])]
        turn += 1
    return drawn
