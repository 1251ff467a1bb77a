"""Choose spans of a few words to predict, by the rule of ALBERT's code (Lan et al. 2020, section 4.1).

Words are visited in random order, and at each a number of words n is drawn, with p(n) proportional to 1 / n. The span of n words
from there on is predicted if the budget has room for it, or else as many of its words as there is room for; a span that has a
predicted word in it is skipped. Spans end where the text does: unlike in that code, none crosses from one segment into the next.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from plmtrain.corruption.grouping import Indices, ranges
from plmtrain.corruption.masked_rows import Masker
from plmtrain.keyed_random import Bits, spread
from plmtrain.settings.masking import MaskingSettings
from plmtrain.text.vocabulary import Vocabulary

_HALF = np.uint64(32)
_LOW = np.uint64(2**32 - 1)
_LAST = np.uint64(2**64 - 1)


def choose_ngrams(
    random: Bits, excluded: NDArray[np.bool_], word_starts: NDArray[np.bool_], budgets: Indices, longest: int
) -> Indices:
    """Choose spans of words of each row, in random order, as many as fit its budget.

    A word goes from its first token to the next one that begins a word or is excluded.

    Args:
        random: [rows, length] numbers that are different within a row; a word's place in the order is the high half of its first
            token's number, and the low half gives the number of words of the span.
        excluded: [rows, length] tokens that must not be chosen; a span ends before them.
        word_starts: [rows, length] whether a token begins a word.
        budgets: [rows] the most tokens to choose.
        longest: words of the longest span.

    Returns:
        [chosen] indices into rows * length, ascending.
    """
    rows, width = random.shape
    if rows == 0 or width == 0:
        return np.empty(0, np.int64)
    begins = word_starts | excluded
    begins[:, 1:] |= excluded[:, :-1]
    begins[:, 0] = True
    edges = np.append(np.flatnonzero(begins), rows * width)  # where words and excluded tokens begin
    number = np.empty(rows * width, np.int64)
    number[edges[:-1]] = np.arange(len(edges) - 1)
    # No span crosses an excluded token or the end of its row.
    barriers = np.append(np.flatnonzero(excluded.reshape(-1)[edges[:-1]] | (edges[:-1] % width == 0)), len(edges) - 1)
    limits = barriers[np.searchsorted(barriers, np.arange(len(edges) - 1), side="right")]

    heads = begins & ~excluded
    words = heads.sum(axis=1)
    low = np.uint64(width.bit_length())
    order = (random >> _HALF << low) | np.arange(width, dtype=np.uint64)
    np.copyto(order, _LAST, where=~heads)
    order.sort(axis=1)
    order &= (np.uint64(1) << low) - np.uint64(1)
    shares = np.cumsum(1 / np.arange(1, longest + 1))
    bounds = np.round(shares / shares[-1] * 2.0**32).astype(np.uint64)

    taken = np.zeros(len(edges) - 1, np.bool_)  # words
    room = budgets.copy()
    ahead = np.arange(longest)
    active = np.flatnonzero((words > 0) & (room > 0))
    for turn in range(int(words.max(initial=0))):
        place = order[active, turn].view(np.int64)
        word = number[active * width + place]
        wanted = 1 + np.searchsorted(bounds, random[active, place] & _LOW, side="right")
        members, limit = word[:, None] + ahead, limits[word][:, None]  # [active, longest] the words of a span
        sizes = edges[np.minimum(members + 1, limit)] - edges[word][:, None]  # of spans of 1, 2 ... words
        # Longer spans take more room, so those that fit come first.
        fitting = np.minimum(np.sum(sizes <= room[active][:, None], axis=1), wanted)
        inside = (ahead < fitting[:, None]) & (members < limit)
        free = (fitting > 0) & ~np.any(taken[np.minimum(members, len(taken) - 1)] & inside, axis=1)
        taken[members[inside & free[:, None]]] = True
        used = np.flatnonzero(free)
        room[active[used]] -= sizes[used, fitting[used] - 1]
        active = active[(room[active] > 0) & (words[active] > turn + 1)]
        if not len(active):
            break
    chosen = np.flatnonzero(taken)
    return ranges(edges[chosen], edges[chosen + 1] - edges[chosen])


class NgramMasker(Masker):
    """Masks spans of a few words of framed rows.

    Args:
        settings: how many tokens, and what replaces them; where they are not of whole words, each token counts as a word.
        vocabulary: of the rows' tokens.
        longest: words of the longest span.
    """

    def __init__(self, settings: MaskingSettings, vocabulary: Vocabulary, longest: int) -> None:
        super().__init__(settings, vocabulary)
        self.longest = longest

    def _chosen(
        self, word_starts: NDArray[np.bool_], random: Bits, excluded: NDArray[np.bool_], budgets: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        starts = word_starts if self.settings.whole_words else np.ones_like(word_starts)
        return choose_ngrams(spread(random, excluded.shape[1]), excluded, starts, budgets, self.longest)
