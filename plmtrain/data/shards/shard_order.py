"""The order of the rows of a stream: a function of the seed and the list of shards.

Every epoch reads each shard once, in a keyed order, and each row of a shard once, in another keyed order. How many rows a shard
has is only known when it is prepared: the place of a step is therefore found by walking over the shards before it, of each of
which nothing but the number of rows is needed.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from plmtrain.errors import TooLittleText
from plmtrain.keyed_random import Keys, permute

ROWS = 2**40
"""More than the rows of a shard: row ``r`` of shard ``s`` has the number ``s * ROWS + r``."""


def shards_in_turn(seed: int, shards: int, first: int, count: int) -> list[int]:
    """Return the shards of some turns; a turn reads one shard, and as many turns as there are shards are an epoch.

    Args:
        seed: the run's seed.
        shards: how many there are.
        first: the first turn.
        count: the number of turns.
    """
    return [_epoch(seed, shards, turn // shards)[turn % shards] for turn in range(first, first + count)]


@lru_cache(maxsize=4)
def _epoch(seed: int, shards: int, epoch: int) -> list[int]:
    """Return the shards of an epoch in turn."""
    return [int(number) for number in permute(np.arange(shards), shards, "shards", seed, epoch)]


class Place(NamedTuple):
    """Where a row of the order is: its turn, and how many rows of this turn come before it."""

    turn: int
    row: int


class ShardOrder:
    """The rows of consecutive phases whose rows have one length.

    Args:
        seed: the run's seed.
        shards: the number of shards.
        rows_in: returns the number of rows of a shard, which a turn reads; it may wait until that is known.
        first_turn: returns the turn that the first of these phases begins with.
        skipped: the rows of the same sequence length that earlier phases read, before another one came between.
    """

    def __init__(
        self,
        seed: int,
        shards: int,
        rows_in: Callable[[int, int], int],
        first_turn: Callable[[], int] = lambda: 0,
        skipped: int = 0,
    ) -> None:
        self._seed, self._shards, self._rows_in, self._skipped = seed, shards, rows_in, skipped
        self._begin = first_turn
        self._first: int | None = None
        self._ends: list[int] = []  # the rows up to the end of each turn

    def keys(self, seed: int, before: int, count: int) -> Keys:
        """Return the keys of the rows that come after the first ``before`` rows.

        Args:
            seed: the run's seed.
            before: the rows of this sequence length already read.
            count: the rows to read, which may be of several shards.

        Returns:
            As ``samples`` the numbers of the rows by ``ROWS``.

        Raises:
            TooLittleText: if no shard has a row.
        """
        assert seed == self._seed, "a stream has the order of one seed"
        epochs, samples = np.empty(count, np.int64), np.empty(count, np.int64)
        done = 0
        while done < count:
            turn, row = self.place(before + done)
            epoch, shard = turn // self._shards, self.shard(turn)
            rows = self._rows_in(shard, turn)
            here = slice(done, done + min(count - done, rows - row))
            places = np.arange(row, row + here.stop - here.start)
            epochs[here] = epoch
            samples[here] = shard * ROWS + permute(places, rows, "shard rows", seed, epoch, shard)
            done = here.stop
        return Keys(seed, epochs, samples)

    def place(self, row: int) -> Place:
        """Return where a row is, counted as ``before`` in ``keys``."""
        row -= self._skipped
        assert row >= 0, row
        empty = 0
        while not self._ends or self._ends[-1] <= row:
            turn = self._first_turn + len(self._ends)
            rows = self._rows_in(self.shard(turn), turn)
            self._ends.append((self._ends[-1] if self._ends else 0) + rows)
            empty = 0 if rows else empty + 1
            if empty == 2 * self._shards:  # each shard had its turn: it may be first in one epoch, and last in the next
                remedy = "give more text in each file (data.files=), or a smaller trainer.sequence_length"
                raise TooLittleText("no file of the stream fills one row", "data.files", remedy)
        index = bisect_right(self._ends, row)
        return Place(self._first_turn + index, row - (self._ends[index - 1] if index else 0))

    def shard(self, turn: int) -> int:
        """Return the shard that a turn reads."""
        return shards_in_turn(self._seed, self._shards, turn, 1)[0]

    def turn_after(self, rows: int) -> int:
        """Return the first turn of which nothing was read when some rows were, counted as ``before`` in ``keys``."""
        return self.place(rows - 1).turn + 1

    @property
    def _first_turn(self) -> int:
        if self._first is None:
            self._first = self._begin()
        return self._first
