"""Choosing whole words to predict, by the rule of BERT's code (``create_pretraining_data.py``, whole-word masking).

Words are visited in random order. One that still fits the budget is taken; one that does not is passed over, not cut, so that
a row falls short of its budget only where no word that would fit is left.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from plmtrain.keyed_random import Bits

Indices = NDArray[np.int64]

_HALF = np.uint64(32)
_EXCLUDED = np.uint64(2**32)
"""The place of what must not be chosen: behind every word."""


def choose_words(random: Bits, excluded: NDArray[np.bool_], word_starts: NDArray[np.bool_], budgets: Indices) -> Indices:
    """Words of each row, in random order, as many as fit its budget.

    A word goes from its first token to the next one that begins a word or is excluded; the rest of a word that a row begins
    with counts as a word.

    Args:
        random: [rows, length] numbers; a word's place in the order is the high half of its first token's number, and where
            two are equal the word on the left comes first.
        excluded: [rows, length] what must not be chosen.
        word_starts: [rows, length] whether a token begins a word.
        budgets: [rows] the most tokens to choose.

    Returns:
        [chosen] indices into rows * length, ascending.

    Raises:
        ValueError: beyond about 2**31 / rows words.
    """
    rows, width = random.shape
    begins = word_starts | excluded
    begins[:, 1:] |= excluded[:, :-1]
    begins[:, 0] = True
    starts = np.flatnonzero(begins)
    ends = np.append(starts[1:], rows * width)
    lengths = ends - starts
    order = random.reshape(-1).take(starts) >> _HALF
    np.copyto(order, _EXCLUDED, where=excluded.reshape(-1).take(starts))

    # Words with small numbers come first and nearly always fill the budget: the others need no sorting unless they did not.
    nearness = _nearness(budgets, width)
    near = np.flatnonzero(order < nearness)
    taken, room = _visit(near, starts.take(near) // width, order, lengths, budgets)
    if room.any():
        far = np.flatnonzero((order >= nearness) & (order < _EXCLUDED))
        row = starts[far] // width
        fitting = np.flatnonzero(lengths[far] <= room[row])
        more, _ = _visit(far[fitting], row[fitting], order, lengths, room)
        taken = np.concatenate((taken, more))
    taken.sort()
    return _ranges(starts[taken], ends[taken])


def _nearness(budgets: Indices, width: int) -> np.uint64:
    """A place in the order before which a row's words hold its budget, but for a few rows."""
    share = float(budgets.max(initial=0)) / width
    return np.uint64(min(1.0, share + 4 * (2 * share / width) ** 0.5) * 2**32)


def _visit(words: Indices, row: Indices, order: Bits, lengths: Indices, budgets: Indices) -> tuple[Indices, Indices]:
    """The words that are taken when those of each row are visited in order, and the room that each row has left.

    Args:
        words: [words] which words to visit, as indices into ``order`` and ``lengths``.
        row: [words] the row of each.
        order, lengths: of all words.
        budgets: [rows] the most tokens to take.
    """
    # One sort for rows and order together: the row in the highest bits, then the order, then the index in ``words``.
    low = np.uint64(len(words).bit_length())
    if int(low) + len(budgets).bit_length() > 32:
        raise ValueError("too many words at a time")
    packed = row.astype(np.uint64) << _HALF
    packed |= order.take(words)
    packed <<= low
    packed |= np.arange(len(words), dtype=np.uint64)
    packed.sort()
    words = words.take((packed & ((np.uint64(1) << low) - np.uint64(1))).view(np.int64))
    lengths = lengths.take(words)

    # All at once: the words of each row up to the first one that does not fit.
    edges = np.searchsorted(packed, np.arange(len(budgets) + 1, dtype=np.uint64) << (_HALF + low))
    first, end = edges[:-1], edges[1:]
    total = np.append(0, np.cumsum(lengths))  # tokens before each word
    stop = np.minimum(np.searchsorted(total, total[first] + budgets, side="right") - 1, end)
    room = budgets - (total[stop] - total[first])
    taken = words[_ranges(first, stop)]

    # One by one: the few behind it in rows that have room left.
    end = np.where(room > 0, end, stop)
    rest = _ranges(stop, end)
    row = np.repeat(np.arange(len(budgets)), end - stop)
    fitting = np.flatnonzero(lengths[rest] <= room[row])
    left, more = room.tolist(), []
    for word, of, length in zip(
        words[rest[fitting]].tolist(), row[fitting].tolist(), lengths[rest[fitting]].tolist(), strict=True
    ):
        if length <= left[of]:
            left[of] -= length
            more.append(word)
    return np.concatenate((taken, np.array(more, np.int64))), np.array(left, np.int64)


def _ranges(first: Indices, last: Indices) -> Indices:
    """The numbers from each first to each last, one range behind the other."""
    lengths = last - first
    behind = np.cumsum(lengths)
    return np.repeat(last - behind, lengths) + np.arange(int(behind[-1]) if len(behind) else 0)
