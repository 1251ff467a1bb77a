"""Choosing whole words to predict, by the rule of BERT's code (``create_pretraining_data.py``, whole-word masking).

Words are visited in random order. One that still fits the budget is taken; one that does not is passed over, not cut, so that
a row falls short of its budget only where no word that would fit is left.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from plmtrain.corruption.masking import NEVER
from plmtrain.keyed_random import Bits

Indices = NDArray[np.int64]

_HALF = np.uint64(32)


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
    begins = np.ones(rows * width + 1, np.bool_)
    grid = begins[:-1].reshape(rows, width)
    np.logical_or(word_starts[:, 1:], excluded[:, 1:], out=grid[:, 1:])
    grid[:, 1:] |= excluded[:, :-1]
    edges = np.flatnonzero(begins)
    starts, lengths = edges[:-1], np.diff(edges)
    np.copyto(random, NEVER, where=excluded)
    order = random.reshape(-1).take(starts)

    # Words with small numbers come first and nearly always fill the budget: the others need no sorting unless they did not.
    nearness = _nearness(budgets, width)
    near = np.flatnonzero(order < nearness)
    taken, room = _visit(near, starts.take(near) // width, order, lengths, budgets)
    if np.any(room):
        far = np.flatnonzero((order >= nearness) & (order < NEVER))
        row = starts[far] // width
        fitting = np.flatnonzero(lengths[far] <= room[row])
        more, _ = _visit(far[fitting], row[fitting], order, lengths, room)
        taken = np.concatenate((taken, more))
    taken.sort()
    first = starts.take(taken)
    return _ranges(first, first + lengths.take(taken))


def _nearness(budgets: Indices, width: int) -> np.uint64:
    """A place in the order before which a row's words hold its budget, but for a few rows."""
    share = float(budgets.max(initial=0)) / width
    return np.uint64(min(2**32 - 1, int((share + 4 * (2 * share / width) ** 0.5) * 2**32))) << _HALF


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
    packed |= order.take(words) >> _HALF
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
    taken = words.take(_ranges(first, stop))

    # One by one: the few behind it, in rows that have room left.
    more = []
    left, at, until = room.tolist(), stop.tolist(), end.tolist()
    for one, space in enumerate(left):
        if not space:
            continue
        for index, length in enumerate(lengths[at[one] : until[one]].tolist(), at[one]):
            if length <= space:
                space -= length
                more.append(index)
                if not space:
                    break
        room[one] = space
    return np.concatenate((taken, words.take(np.array(more, np.int64)))), room


def _ranges(first: Indices, last: Indices) -> Indices:
    """The numbers from each first to each last, one range behind the other."""
    lengths = last - first
    behind = np.cumsum(lengths)
    return np.repeat(last - behind, lengths) + np.arange(int(behind[-1]) if len(behind) else 0)
