"""Choose whole words to predict, by the rule of BERT's code (``create_pretraining_data.py``, whole-word masking).

Words are visited in random order. A word that still fits the budget is taken; one that does not is skipped, not cut, so that a
row falls short of its budget only where no remaining word would fit.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from plmtrain.corruption.grouping import Indices, ranges
from plmtrain.corruption.masking import LAST
from plmtrain.keyed_random import Orders, position_bits

_MORE = 8
"""Words of a row that are visited beyond its budget: filling a budget seldom needs more."""


def choose_words(order: Orders, excluded: NDArray[np.bool_], word_starts: NDArray[np.bool_], budgets: Indices) -> Indices:
    """Choose words of each row, in random order, as many as fit its budget.

    A word goes from its first token to the next one that begins a word or is excluded; the rest of a cut word at the beginning
    of a row counts as a word.

    Args:
        order: [rows, length] the random order of each row's tokens (``keyed_random.orders``); the order of words is that of
            their first tokens; overwritten.
        excluded: [rows, length] tokens that must not be chosen.
        word_starts: [rows, length] whether a token begins a word.
        budgets: [rows] the most tokens to choose.

    Returns:
        [chosen] indices into rows * length, ascending.
    """
    rows, width = order.shape
    if rows == 0 or width == 0:
        return np.empty(0, np.int64)
    lengths, begins = _words(excluded, word_starts)
    # Excluded tokens, and those that do not begin a word, sort last. (Multiplying is several times as fast as a masked copy.)
    order |= (excluded >= begins) * LAST
    order.sort(axis=1)

    # A word is at least one token, so as many words as the budget has tokens nearly always fill it; if not, all are visited.
    chosen = []
    unfilled = np.arange(rows)
    for seen in (min(width, int(budgets.max()) + _MORE), width):
        words = order[unfilled, :seen]
        places = (words & np.uint32(2 ** position_bits(width) - 1)) + (unfilled * width)[:, None]
        sizes = lengths.take(places, mode="clip")
        sizes[words == LAST] = 2**32  # fits no budget
        taken, left = _take(sizes, budgets[unfilled])
        filled = left == 0 if seen < width else np.ones(len(left), np.bool_)
        chosen.append(places[taken & filled[:, None]])
        unfilled = unfilled[~filled]
        if not len(unfilled):
            break
    first = np.sort(np.concatenate(chosen))
    return ranges(first, lengths.take(first))


def _words(excluded: NDArray[np.bool_], word_starts: NDArray[np.bool_]) -> tuple[Indices, NDArray[np.bool_]]:
    """Return the length of each word or excluded token, [rows * length], arbitrary except where one begins, and where they begin,
    [rows, length]."""
    begins = word_starts | excluded
    begins[:, 1:] |= excluded[:, :-1]
    begins[:, 0] = True
    edges = np.flatnonzero(begins)
    lengths = np.empty(begins.size, np.int64)
    lengths[edges[:-1]] = edges[1:] - edges[:-1]
    lengths[edges[-1]] = begins.size - edges[-1]
    return lengths, begins


def _take(sizes: Indices, budgets: Indices) -> tuple[NDArray[np.bool_], Indices]:
    """Visit the words of each row from left to right.

    Args:
        sizes: [rows, words] how many tokens each has.
        budgets: [rows] the most tokens to take.

    Returns:
        [rows, words] which words are taken; [rows] how many tokens of the budget are left.
    """
    # All at once: the words of each row up to the first one that does not fit.
    total = np.zeros((sizes.shape[0], sizes.shape[1] + 1), np.int64)
    np.cumsum(sizes, axis=1, out=total[:, 1:])
    taken = total[:, 1:] <= budgets[:, None]
    stops = np.count_nonzero(taken, axis=1)
    left = budgets - total[np.arange(len(total)), stops]
    # One by one: the few after it, in rows that have room left.
    rows = np.flatnonzero(left)
    for row, stop, room in zip(rows.tolist(), stops[rows].tolist(), left[rows].tolist(), strict=True):
        for word, size in enumerate(sizes[row, stop + 1 :].tolist(), stop + 1):
            if size <= room:
                taken[row, word] = True
                room -= size
                if not room:
                    break
        left[row] = room
    return taken, left
