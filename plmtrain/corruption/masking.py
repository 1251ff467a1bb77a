"""Choose tokens to predict, and replace them (Devlin et al. 2019, section 3.1; Liu et al. 2019, section 4.1).

Three steps, each a pure function: how many tokens of each row are predicted, which ones, and what replaces them. A token is
chosen by the random number of its own position, so that a row's mask is the same in any batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from plmtrain.keyed_random import Bits, Orders, as_integers, spread_at
from plmtrain.settings.masking import ReplacingSettings
from plmtrain.text.vocabulary import Vocabulary

LAST = np.uint32(2**32 - 1)
"""The place in a random order of a token that must not be chosen."""


def rounded_budgets(lengths: NDArray[np.int64], share: float) -> NDArray[np.int64]:
    """Return BERT's budgets: the share of a row, rounded, and at least one token.

    Halves round to the even number, as ``round`` does in Python 3, which the code calls (in Python 2 it rounded them up).

    Args:
        lengths: [rows] the numbers of which the share is taken.
    """
    rounded: NDArray[np.int64] = np.rint(lengths * share).astype(np.int64)
    return np.maximum(1, rounded)


def stochastic_budgets(lengths: NDArray[np.int64], share: float, uniform: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return RoBERTa's budgets: the share of a row plus a number in [0, 1), rounded down, so that the mean is the share itself.

    Args:
        lengths, uniform: [rows].
    """
    return np.floor(lengths * share + uniform).astype(np.int64)


def choose_tokens(order: Orders, excluded: NDArray[np.bool_], budgets: NDArray[np.int64]) -> NDArray[np.int64]:
    """Choose a number of tokens of each row; every set of that size is equally likely.

    Args:
        order: [rows, length] the random order of each row's tokens (``keyed_random.orders``); overwritten.
        excluded: [rows, length] tokens that must not be chosen.
        budgets: [rows] how many to choose, the first ones in that order; where a row has fewer, all of them.

    Returns:
        [chosen] indices into rows * length, ascending.
    """
    np.copyto(order, LAST, where=excluded)
    rows, width = order.shape
    if rows == 0 or width == 0:
        return np.empty(0, np.int64)
    # The limit of a row is its first number that is not chosen.
    limits = np.sort(order, axis=1)[np.arange(rows), np.minimum(budgets, width - 1)]
    limits[budgets >= width] = LAST
    return np.flatnonzero(order < limits[:, None])


def draw_tokens(random: Bits, excluded: NDArray[np.bool_], budgets: NDArray[np.int64]) -> tuple[NDArray[np.int64], ...]:
    """Draw a number of tokens of each row with replacement: a token may be drawn again.

    Args:
        random: [rows] a number each.
        excluded: [rows, length] tokens that must not be drawn.
        budgets: [rows] how many draws; none where all tokens are excluded.

    Returns:
        [draws] the tokens, as indices into rows * length; [draws] their rows; [draws] the place of each draw in its row's draws.
    """
    candidates, counts = np.flatnonzero(~excluded), np.count_nonzero(~excluded, axis=1)
    draws = np.where(counts > 0, budgets, 0)
    row = np.repeat(np.arange(len(counts)), draws)
    turn = np.arange(len(row)) - np.repeat(np.cumsum(draws) - draws, draws)
    picked = as_integers(spread_at(random.take(row), turn), counts.take(row))
    return candidates.take((np.cumsum(counts) - counts).take(row) + picked), row, turn


@dataclass(frozen=True, kw_only=True)
class Replacement:
    """The replacement of predicted tokens.

    Args:
        mask: the id of the mask.
        mask_share: the share of predicted tokens that the mask replaces.
        random_share: the share that a random token replaces; the rest stay as they are.
        random_ids: [n] the tokens that the random one is drawn from, uniformly; the original may be drawn too.
    """

    mask: int
    mask_share: float
    random_share: float
    random_ids: NDArray[np.int64]

    @classmethod
    def of(cls, settings: ReplacingSettings, vocabulary: Vocabulary) -> Replacement:
        """Return the replacement of an objective's settings in a vocabulary."""
        mask, ordinary = vocabulary["mask"], vocabulary.ordinary_ids
        tokens = {
            "all": vocabulary.ids,
            "ordinary": ordinary,
            "ordinary_and_mask": np.append(ordinary, mask),
        }
        return cls(
            mask=mask,
            mask_share=settings.mask_share,
            random_share=settings.random_share,
            random_ids=tokens[settings.random_tokens],
        )

    def __call__(self, originals: NDArray[np.int64], random: Bits) -> NDArray[np.int64]:
        """Return the ids that the model reads instead.

        Args:
            originals: [predicted] token ids.
            random: [predicted] one number each; the low half decides what happens (the lowest numbers mask, the highest keep),
                the high half draws the random token.
        """
        choice = random & np.uint64(2**32 - 1)
        changed = choice < np.uint64(round((self.mask_share + self.random_share) * 2**32))
        masked = choice < np.uint64(round(self.mask_share * 2**32))
        shown = originals.copy()
        shown[changed] = self.mask
        swapped = np.flatnonzero(changed ^ masked)
        shown[swapped] = self.random_ids[as_integers(random[swapped], len(self.random_ids))]
        return shown
