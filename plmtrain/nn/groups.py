"""Examples that take several rows of the model each: their choices, or the windows of a long text."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor


def table_of(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the rows of each example, given that they stand together.

    Args:
        counts: [examples] the number of rows of each.

    Returns:
        [examples, most rows] indices of rows; -1 behind the last one of an example.
    """
    columns = np.arange(counts.max(initial=0))
    return np.where(columns < counts[:, None], (np.cumsum(counts) - counts)[:, None] + columns, -1)


def grouped(scores: Tensor, table: Tensor, missing: float) -> Tensor:
    """Put the scores of an example's rows beside each other.

    Args:
        scores: [rows, outputs].
        table: [examples, most rows] from ``table_of``.
        missing: the score of rows that an example does not have.

    Returns:
        [examples, most rows, outputs].
    """
    return scores[table.clamp(min=0)].masked_fill((table < 0)[..., None], missing)
