"""Rows of several tasks in chosen shares: examples-proportional mixing with a limit and a temperature (Raffel et al. 2020,
section 3.5.2).

An epoch has every row of every task, and exactly the shares: the task that is largest in relation to its share is read once, and
the rows of the others are repeated. So the rows of a step follow from the seed and the step alone, as those of one task do.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plmtrain.data.rows.quotas import quotas, shares
from plmtrain.data.rows.rows import Rows, sizes_of
from plmtrain.data.tables.examples import ExampleSource


def mixing_rates(sizes: Sequence[int], limit: int | None, temperature: float) -> NDArray[np.float64]:
    """Return the share of each task.

    Args:
        sizes: the number of training examples of each task.
        limit: the size from which on a larger task has no larger share, K; none if None.
        temperature: T; shares are raised to the power of 1/T.
    """
    return shares([size if limit is None else min(size, limit) for size in sizes], 1 / temperature)


class MixedExamples:
    """A source of rows of several tasks, which stand one after another in another source.

    Args:
        rows: the rows of all tasks.
        sizes: the number of rows of each task.
        rates: [tasks] the share of each.
    """

    def __init__(self, rows: ExampleSource, sizes: Sequence[int], rates: NDArray[np.float64]) -> None:
        assert len(rows) == sum(sizes)
        self.rows = rows
        self.quotas = quotas(sizes, rates.tolist())
        self._sizes = np.array(sizes)
        self._first = np.cumsum(self._sizes) - self._sizes
        self._ends = np.cumsum(self.quotas)

    def __len__(self) -> int:
        return int(self._ends[-1])

    def origins(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the rows of the other source that stand at some places of the epoch.  # [rows] -> [rows]"""
        task = np.searchsorted(self._ends, indices, side="right")
        turn = indices - (self._ends - self.quotas)[task]
        origins: NDArray[np.int64] = self._first[task] + turn % self._sizes[task]
        return origins

    def fetch(self, indices: NDArray[np.int64]) -> Rows:
        """The rows at some places of the epoch, in that order."""
        return self.rows.fetch(self.origins(np.asarray(indices, np.int64)))

    @cached_property
    def _all(self) -> NDArray[np.int64]:
        return self.origins(np.arange(len(self)))

    @cached_property
    def sizes(self) -> NDArray[np.int64]:
        """The tokens of text in each row.  # [rows]"""
        own = sizes_of(self.rows)
        assert own is not None
        return own[self._all]

    @property
    def owners(self) -> NDArray[np.int64]:
        """Each row is an example of its own.  # [rows]"""
        return np.arange(len(self))

    @property
    def references(self) -> Sequence[Any]:
        """The right answer of each row."""
        return [self.rows.references[origin] for origin in self._all.tolist()]
