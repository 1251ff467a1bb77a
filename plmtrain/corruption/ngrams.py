"""Choosing spans of a few words to predict, by the rule of ALBERT's code (Lan et al. 2020, section 4.1).

Words are visited in random order, and at each a number of words n is drawn, with p(n) proportional to 1 / n. The span of n words
from there on is predicted if the budget has room for it, or else as many of its words as there is room for; one that has a
predicted word in it is passed over. Spans end where the text does: unlike in that code, none reaches from one segment into the
next.
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


def choose_ngrams(
    random: Bits, excluded: NDArray[np.bool_], word_starts: NDArray[np.bool_], budgets: Indices, longest: int
) -> Indices:
    """Spans of words of each row, in random order, as many as fit its budget.

    A word goes from its first token to the next one that begins a word or is excluded.

    Args:
        random: [rows, length] numbers that are different within a row; a word's place in the order is the high half of its first
            token's number, and the low half says of how many words the span is.
        excluded: [rows, length] what must not be chosen; a span ends before it.
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
    heads = begins & ~excluded
    ends = _ends(begins, heads, longest)
    order = np.argsort(np.where(heads, random >> _HALF, _LOW + np.uint64(1)), axis=1, kind="stable")
    words = heads.sum(axis=1)
    shares = np.cumsum(1 / np.arange(1, longest + 1))
    limits = np.round(shares / shares[-1] * 2.0**32).astype(np.uint64)

    taken = np.zeros((rows, width + 1), np.bool_)  # words by their first tokens; nothing stands behind the row
    room = budgets.copy()
    active = np.flatnonzero((words > 0) & (room > 0))
    for turn in range(int(words.max(initial=0))):
        word = order[active, turn]
        wanted = 1 + np.searchsorted(limits, random[active, word] & _LOW, side="right")
        reach = ends[:, active, word]  # [longest, active] where a span of 1, 2 ... words ends
        # Longer spans take more room, so that those that fit are the first ones.
        fitting = np.minimum(np.sum(reach - word <= room[active], axis=0), wanted)
        members = np.concatenate([word[None], reach[:-1]])  # [longest, active] the first token of each word
        inside = np.arange(longest)[:, None] < fitting
        inside[1:] &= reach[1:] > reach[:-1]  # a span that the text's end cuts short has fewer words
        free = (fitting > 0) & ~np.any(taken[active, members] & inside, axis=0)
        number, which = np.nonzero(inside & free)
        taken[active[which], members[number, which]] = True
        used = np.flatnonzero(free)
        room[active[used]] -= reach[fitting[used] - 1, used] - word[used]
        active = active[(room[active] > 0) & (words[active] > turn + 1)]
        if not len(active):
            break
    first = np.flatnonzero(taken[:, :-1])
    return ranges(first, ends[0].reshape(-1)[first] - first % width)


def _ends(begins: NDArray[np.bool_], heads: NDArray[np.bool_], longest: int) -> Indices:
    """Where the span of 1, 2 ... words that begins at each word ends; anything elsewhere.  # [longest, rows, length]"""
    rows, width = begins.shape
    # The nearest place behind each one where something begins, or the row's end.
    nearest = np.full((rows, width + 1), width)
    nearest[:, :-1][begins] = np.broadcast_to(np.arange(width), begins.shape)[begins]
    after = np.minimum.accumulate(nearest[:, ::-1], axis=1)[:, ::-1][:, 1:]
    goes_on = np.concatenate([heads, np.zeros((rows, 1), np.bool_)], axis=1)
    ends = [after]
    for _ in range(longest - 1):
        here = ends[-1]
        further = np.take_along_axis(after, np.minimum(here, width - 1), axis=1)
        ends.append(np.where(np.take_along_axis(goes_on, here, axis=1), further, here))
    return np.stack(ends)


class NgramMasker(Masker):
    """Hides spans of a few words of framed rows.

    Args:
        settings: how many tokens, and behind what; where they are not of whole words, each token counts as a word.
        vocabulary: the tokens that rows are made of.
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
