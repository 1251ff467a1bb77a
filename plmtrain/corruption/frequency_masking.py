"""Masking that prefers rare tokens, by XLM's rule (Lample and Conneau 2019, section 3.3), which DistilBERT's code has, too.

Tokens are drawn without replacement in proportion to frequency^-alpha. The authors of both draw them from a whole batch; here
each row has its own budget, a share of its tokens, so that a row's mask is the same in any batch.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from plmtrain.corruption.framed_rows import FramedRows
from plmtrain.corruption.masked_rows import MaskedRows
from plmtrain.corruption.masking import Replacement, stochastic_budgets
from plmtrain.keyed_random import Bits, Keys, as_uniform, several_row_bits, spread, spread_at
from plmtrain.settings.masking import RareTokenSettings
from plmtrain.text.vocabulary import Vocabulary


def choose_weighted(
    random: Bits, weights: NDArray[np.float64], excluded: NDArray[np.bool_], budgets: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Draw tokens of each row without replacement, in proportion to their weights.

    Exponential clocks whose rates are the weights ring in the order of such draws (Efraimidis and Spirakis 2006, "Weighted
    random sampling with a reservoir").

    Args:
        random: [rows, length] from ``keyed_random.spread``.
        weights: [rows, length] above zero.
        excluded: [rows, length] tokens that must not be chosen.
        budgets: [rows] how many to choose; where a row has fewer, all of them.

    Returns:
        [chosen] indices into rows * length, ascending.
    """
    rows, width = random.shape
    if rows == 0 or width == 0:
        return np.empty(0, np.int64)
    rings = -np.log1p(-as_uniform(random)) / weights  # the uniform number is in [0, 1), so one minus it is never zero
    rings[excluded] = np.inf
    taken = np.minimum(budgets, np.count_nonzero(~excluded, axis=1))
    order = np.argsort(rings, axis=1, kind="stable")
    first = order[np.arange(width) < taken[:, None]] + np.repeat(np.arange(rows) * width, taken)
    return np.sort(first)


class FrequencyMasker:
    """Masks tokens of framed rows. Special tokens are never chosen.

    Args:
        settings: how many tokens, which, and what replaces them.
        vocabulary: of the rows' tokens.
        counts_special: whether the budget is a share of all tokens of a row, and not only of those that may be chosen.
    """

    def __init__(self, settings: RareTokenSettings, vocabulary: Vocabulary, *, counts_special: bool = False) -> None:
        self._share, self._exponent, self._vocabulary = settings.mask_probability, settings.frequency_exponent, vocabulary
        self._counts_special = counts_special
        self._replacement = Replacement.of(settings, vocabulary)

    def __call__(self, rows: FramedRows, shares: NDArray[np.float64], keys: Keys) -> MaskedRows:
        """Mask tokens, as a function of each row and its key alone; the input rows are not changed.

        Args:
            rows: the rows to mask.
            shares: [rows, length] the frequency of each token, above zero where it is not special.
            keys: of the rows.
        """
        ids = rows.ids.copy()
        excluded = self._vocabulary.is_special.take(ids)
        choice, replacement, budget = several_row_bits(("tlm.choose", "tlm.replace", "tlm.budget"), keys)  # each [rows]
        random = spread(choice, ids.shape[1])
        if self._exponent:
            whole = rows.lengths if self._counts_special else np.sum(~excluded, axis=1)
            budgets = stochastic_budgets(whole, self._share, as_uniform(budget))
            weights = np.where(excluded, 1.0, shares) ** -self._exponent
            positions = choose_weighted(random, weights, excluded, budgets)
        else:
            positions = np.flatnonzero((as_uniform(random) < self._share) & ~excluded)
        flat = ids.reshape(-1)
        labels = flat.take(positions)
        row, column = np.divmod(positions, ids.shape[1])
        flat[positions] = self._replacement(labels, spread_at(replacement.take(row), column))
        return MaskedRows(ids=ids, positions=positions, labels=labels)
