"""Choosing whole words to predict, by the rule of BERT's code (``create_pretraining_data.py``, whole-word masking).

Words are visited in random order. One that still fits the budget is taken; one that does not is passed over, not cut, so that
a row falls short of its budget only where no shorter word is left.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from plmtrain.corruption.masking import NEVER
from plmtrain.keyed_random import Bits

Indices = NDArray[np.int64]


def choose_words(
    random: Bits, excluded: NDArray[np.bool_], word_starts: NDArray[np.bool_], budgets: NDArray[np.int64]
) -> Indices:
    """Words of each row, in random order, as many as fit its budget.

    A word goes from its first token to the next one that begins a word or is excluded; the rest of a word that a row begins
    with counts as a word.

    Args:
        random: [rows, length] numbers; a word's place in the order is the number of its first token.
        excluded: [rows, length] what must not be chosen.
        word_starts: [rows, length] whether a token begins a word.
        budgets: [rows] the most tokens to choose.

    Returns:
        [chosen] indices into rows * length, ascending.
    """
    rows, width = random.shape
    begins = word_starts | excluded
    begins[:, 1:] |= excluded[:, :-1]
    begins[:, 0] = True
    starts = np.flatnonzero(begins)
    ends = np.append(starts[1:], rows * width)
    order = random.reshape(-1)[starts]
    order[excluded.reshape(-1)[starts]] = NEVER

    chosen = np.zeros(len(starts), np.bool_)
    room = budgets.copy()
    # Words with small numbers come first and nearly always fill the budget: the others need no sorting unless they did not.
    near = order < _nearness(budgets, width)
    for words in (np.flatnonzero(near), None):
        if words is None:
            if not room.any():
                break
            words = np.flatnonzero(~near & (order < NEVER))
        chosen[_fill(words, starts[words] // width, order[words], (ends - starts)[words], room)] = True

    first, last = starts[chosen], ends[chosen]
    lengths = last - first
    behind = np.cumsum(lengths)
    return np.arange(behind[-1] if len(behind) else 0) + np.repeat(first - (behind - lengths), lengths)


def _nearness(budgets: NDArray[np.int64], width: int) -> np.uint64:
    """A number below which a row's words hold its budget, but for a few rows."""
    share = float(budgets.max(initial=0)) / width
    return np.uint64(min(1.0, share + 4 * (2 * share / width) ** 0.5) * (2**64 - 2**12))


def _fill(words: Indices, row: Indices, order: Bits, lengths: Indices, room: NDArray[np.int64]) -> Indices:
    """The words that are taken when each row's are visited in order; ``room`` shrinks by their lengths."""
    # One sort for rows and order together: the row in the highest bits, then the random number, then the word's own index.
    low = np.uint64(max(1, int(len(words)).bit_length()))
    high = np.uint64(64 - max(1, int(len(room)).bit_length()))
    packed = (
        (row.astype(np.uint64) << high) | (order >> (np.uint64(64) - high) >> low << low) | np.arange(len(words), dtype=np.uint64)
    )
    packed.sort()
    index = (packed & ((np.uint64(1) << low) - np.uint64(1))).astype(np.int64)
    words, row, lengths = words[index], row[index], lengths[index]
    taken = []
    while len(words):
        # What is left of the rows' words: as many as fit, up to the first that does not. Longer ones than the room that
        # remains will never fit, and without them the next stretch begins.
        total = np.cumsum(lengths)
        before = np.append(0, total)[np.searchsorted(row, np.arange(len(room)))]
        fits = total <= (before + room)[row]
        taken.append(words[fits])
        room -= np.bincount(row[fits], lengths[fits], len(room)).astype(np.int64)
        rest = ~fits & (lengths <= room[row])
        words, row, lengths = words[rest], row[rest], lengths[rest]
    return np.concatenate(taken) if taken else words
