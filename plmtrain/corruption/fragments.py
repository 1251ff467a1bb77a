"""One contiguous fragment of each row, hidden from the encoder (Song et al. 2019, section 3.2).

The length of a row stays as it is. Where the fragment begins follows the authors' code for translation: with some probability
right after the token that opens the row, with some so that it ends with the row, else anywhere between. The token that opens the
row is never hidden; the one that closes it may be.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from plmtrain.corruption.framed_rows import FramedRows
from plmtrain.corruption.masking import Replacement, rounded_budgets
from plmtrain.keyed_random import Keys, as_integers, as_uniform, several_row_bits, spread_at

if TYPE_CHECKING:
    from plmtrain.settings.objectives.mass import MassSettings
    from plmtrain.text.vocabulary import Vocabulary


@dataclass(frozen=True, kw_only=True)
class FragmentedRows:
    """Rows with a hidden fragment.

    Args:
        ids: [rows, length] what is read instead.
        begins: [rows] the place of the fragment's first token, at least 1.
        sizes: [rows] the number of its tokens.
    """

    ids: NDArray[np.int64]
    begins: NDArray[np.int64]
    sizes: NDArray[np.int64]


class Fragmenter:
    """Hides a fragment of framed rows.

    Args:
        settings: how long fragments are, where they begin, and what replaces their tokens.
        vocabulary: of the rows' tokens.
    """

    def __init__(self, settings: MassSettings, vocabulary: Vocabulary) -> None:
        self._settings, self._replacement = settings, Replacement.of(settings, vocabulary)

    def __call__(self, rows: FramedRows, keys: Keys) -> FragmentedRows:
        """Hide fragments, as a function of each row and its key alone; the input rows are not changed.

        Args:
            rows: the rows, of two tokens or more.
            keys: of the rows.
        """
        kind, place, replacement = several_row_bits(("mass.kind", "mass.place", "mass.replace"), keys)  # each [rows]
        sizes = np.minimum(rounded_budgets(rows.lengths, self._settings.fragment_share), rows.lengths - 1)
        begins = self._begins(as_uniform(kind), place, rows.lengths - sizes)
        columns = np.arange(rows.ids.shape[1])
        hidden = np.flatnonzero((columns >= begins[:, None]) & (columns < (begins + sizes)[:, None]))
        row, column = np.divmod(hidden, rows.ids.shape[1])
        ids = rows.ids.copy()
        flat = ids.reshape(-1)
        flat[hidden] = self._replacement(flat.take(hidden), spread_at(replacement.take(row), column))
        return FragmentedRows(ids=ids, begins=begins, sizes=sizes)

    def _begins(self, kind: NDArray[np.float64], place: NDArray[np.uint64], last: NDArray[np.int64]) -> NDArray[np.int64]:
        """Draw where fragments begin.  # [rows] each

        Args:
            kind: a number in [0, 1), which chooses between the rules.
            place: random bits for a place between.
            last: the last place where a fragment can begin.
        """
        first_share, last_share = self._settings.first_share, self._settings.last_share
        between = 1 + as_integers(place, np.maximum(last - 1, 1))  # from 1 to the place before the last
        return np.select([kind < first_share, kind < first_share + last_share], [np.ones_like(last), last], between)
