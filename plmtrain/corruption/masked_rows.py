"""Whole rows with some of their tokens masked: the input of masked language modelling and of everything built on it.

Special tokens are never chosen: neither those that frame a row, nor document ends, nor unknown tokens. BERT does not mask the
first two either; RoBERTa's code may mask all of them, most likely by an oversight.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from plmtrain.corruption.framed_rows import FramedRows
from plmtrain.corruption.masking import Replacement, choose_tokens, rounded_budgets, stochastic_budgets
from plmtrain.corruption.words import choose_words
from plmtrain.keyed_random import Bits, Keys, as_uniform, orders, several_row_bits, spread_at
from plmtrain.settings.masking import MaskingSettings
from plmtrain.text.vocabulary import Vocabulary

CACHED = 2**15
"""Tokens whose random numbers are made at a time, so that they fit into a core's cache."""


@dataclass(frozen=True, kw_only=True)
class MaskedRows:
    """Framed rows in which tokens are masked.

    Args:
        ids: [rows, length] the model's input.
        positions: [predicted] the tokens to predict, as indices into rows * length, ascending.
        labels: [predicted] their original ids.
    """

    ids: NDArray[np.int64]
    positions: NDArray[np.int64]
    labels: NDArray[np.int64]


class Masker:
    """Masks tokens of framed rows.

    Args:
        settings: how many, which, and what replaces them.
        vocabulary: of the rows' tokens.
    """

    def __init__(self, settings: MaskingSettings, vocabulary: Vocabulary) -> None:
        self.settings = settings
        self.vocabulary = vocabulary
        self.replacement = Replacement(
            mask=vocabulary["mask"],
            mask_share=settings.mask_share,
            random_share=settings.random_share,
            random_ids=vocabulary.ids if settings.random_tokens == "all" else vocabulary.ordinary_ids,
        )

    def __call__(self, rows: FramedRows, keys: Keys) -> MaskedRows:
        """Mask tokens, as a function of each row and its key alone; the input rows are not changed."""
        if self.settings.copies is not None:  # static masking: later epochs repeat the masks of the first ones
            keys = replace(keys, epochs=keys.epochs % self.settings.copies)
        ids = rows.ids.copy()
        excluded = self.vocabulary.is_special.take(ids)
        choice, replacement, budget = several_row_bits(("mlm.choose", "mlm.replace", "mlm.budget"), keys)  # each [rows]
        positions = self._chosen(rows.word_starts, choice, excluded, self._budgets(rows.lengths, excluded, budget))

        flat = ids.reshape(-1)
        labels = flat.take(positions)
        row = positions // ids.shape[1]
        column = positions - row * ids.shape[1]  # not np.divmod, which is several times as slow
        flat[positions] = self.replacement(labels, spread_at(replacement.take(row), column))
        return MaskedRows(ids=ids, positions=positions, labels=labels)

    def _budgets(self, lengths: NDArray[np.int64], excluded: NDArray[np.bool_], random: Bits) -> NDArray[np.int64]:
        """Return how many tokens of each row are predicted."""
        whole = lengths if self.settings.budget_counts_specials else np.sum(~excluded, axis=1)
        if self.settings.budget == "round":
            budgets = rounded_budgets(whole, self.settings.mask_probability)
        else:
            budgets = stochastic_budgets(whole, self.settings.mask_probability, as_uniform(random))
        return budgets if self.settings.max_predictions is None else np.minimum(budgets, self.settings.max_predictions)

    def _chosen(
        self, word_starts: NDArray[np.bool_], random: Bits, excluded: NDArray[np.bool_], budgets: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Choose the predicted positions, as indices into rows * length, ascending."""
        length = excluded.shape[1]
        rows_at_a_time = max(1, CACHED // length)
        chosen = [np.empty(0, np.int64)]
        for first in range(0, len(excluded), rows_at_a_time):
            part = slice(first, first + rows_at_a_time)
            order = orders(random[part], length)
            if self.settings.whole_words:
                positions = choose_words(order, excluded[part], word_starts[part], budgets[part])
            else:
                positions = choose_tokens(order, excluded[part], budgets[part])
            chosen.append(positions + first * length)
        return np.concatenate(chosen)
