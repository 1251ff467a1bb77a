"""The order of rows of several sources in fixed shares: a closed formula of (seed, position), like that of one source.

Which source a row is from is not drawn: the rows of a block are dealt out evenly, and all blocks alike, so that any stretch of
the order has each source's share of it to within a few rows. Each source is read in passes of its own, each a keyed permutation
of its rows: no row is read a second time before all are read once.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from plmtrain.data.rows.quotas import apportioned
from plmtrain.keyed_random import Keys, permute

BLOCK = 10_000
"""The rows of a block: shares are exact to half a row of these."""


@dataclass(frozen=True)
class Mixing:
    """How the rows of several sources follow each other.

    Args:
        sizes: the number of rows of each source, at least one each.
        shares: the share of each source, relative to their sum.
    """

    sizes: tuple[int, ...]
    shares: tuple[float, ...]

    @cached_property
    def quotas(self) -> NDArray[np.int64]:
        """The rows of each source in a block.  # [sources]"""
        return np.array(apportioned(BLOCK, self.shares), np.int64)

    @cached_property
    def first(self) -> NDArray[np.int64]:
        """The number of each source's first row, if the rows of all are numbered one source after another.  # [sources]"""
        sizes = np.array(self.sizes, np.int64)
        first: NDArray[np.int64] = np.cumsum(sizes) - sizes
        return first

    @cached_property
    def _pattern(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The source of each row of a block, and which of its source's rows there it is.  # [rows of a block] each"""
        sources = np.repeat(np.arange(len(self.sizes)), self.quotas)
        turns = np.concatenate([np.arange(quota) for quota in self.quotas])
        even = np.argsort((turns + 0.5) / self.quotas[sources], kind="stable")
        return sources[even], turns[even]

    def keys(self, seed: int, before: int, count: int) -> Keys:
        """Return the keys of the rows that come after the first ``before`` rows of the order.

        Args:
            seed: the run's seed.
            before: the rows already read.
            count: the rows to read.

        Returns:
            As ``epochs`` the passes of each row's own source before, as ``samples`` the numbers of rows as by ``first``.
        """
        blocks, places = np.divmod(np.arange(before, before + count, dtype=np.int64), BLOCK)
        sources, turns = (part[places] for part in self._pattern)
        sizes = np.array(self.sizes, np.int64)[sources]
        epochs, positions = np.divmod(blocks * self.quotas[sources] + turns, sizes)
        samples = self.first[sources]
        for source, epoch in np.unique(np.stack([sources, epochs]), axis=1).T.tolist():
            here = (sources == source) & (epochs == epoch)
            samples[here] += permute(positions[here], self.sizes[source], "mixed order", seed, source, epoch)
        return Keys(seed, epochs, samples)

    def passes(self, rows: int) -> list[float]:
        """Return how often each source is read in some rows of the order, in the order of the sources."""
        return [rows * int(quota) / BLOCK / size for quota, size in zip(self.quotas, self.sizes, strict=True)]
