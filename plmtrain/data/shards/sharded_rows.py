"""Rows of a stream: those of the shards that are read now, in the order of ``plmtrain.data.shards.shard_order``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from plmtrain.data.rows.blocks import block_count
from plmtrain.data.rows.mixed_rows import gathered
from plmtrain.data.rows.rows import Rows, RowSource
from plmtrain.data.shards.ahead import Turns
from plmtrain.data.shards.shard_order import ROWS, ShardOrder

if TYPE_CHECKING:
    from plmtrain.data.corpus.store import Store
    from plmtrain.data.shards.ahead import Ahead
    from plmtrain.data.shards.shard_cache import AwaitedShards

_OPEN = 2
"""Shards that a process holds open between two fetches: a step may read the end of one and the beginning of the next."""


@dataclass(frozen=True)
class BlockShape:
    """How a shard is cut into rows.

    Args:
        length: tokens in a row.
        advance: tokens from the start of a row to the start of the next one.
    """

    length: int
    advance: int


class ShardedRows:
    """A source of the blocks of a stream.

    Args:
        shards: the shards, which another process prepares.
        shape: of the blocks.
        blocks_of: returns the blocks of one shard.
        opening: blocks of the text that stands for the whole stream: its tokens are drawn where a row needs others, and its
            frequencies are told, so that both are the same in each step.
        ahead: the process that prepares the shards; None in all processes of the run but the first.
    """

    order: ShardOrder
    """The order of its rows, which phases with rows of the same shape continue."""

    def __init__(
        self,
        shards: AwaitedShards,
        shape: BlockShape,
        blocks_of: Callable[[Store], RowSource],
        opening: RowSource,
        ahead: Ahead | None,
    ) -> None:
        self.shape = shape
        self._shards, self._blocks_of, self._ahead = shards, blocks_of, ahead
        common = opening.fetch(np.empty(0, np.int64))
        self._text, self._frequencies = common.text, common.frequencies
        self._open: dict[int, RowSource] = {}

    def rows_in(self, shard: int, turn: int) -> int:
        """Return the number of blocks of a shard, once it is counted.

        Args:
            shard: the shard.
            turn: the turn in which it is read.
        """

        def ask() -> None:
            if self._ahead is not None:
                self._ahead.ask(turn)

        return block_count(self._shards.tokens(shard, ask), self.shape.length, self.shape.advance)

    def reach(self, before: int, count: int) -> None:
        """Tell the process that prepares shards which of them are read now, and wait until they are prepared.

        Every process waits for all of them, whichever has its own rows, so that all begin the step, or none does.

        Raises:
            Stopped: in all processes, if a stop is asked for meanwhile.
            PlmtrainError: if one cannot be prepared, or if nobody prepares it.
        """
        first = self.order.place(before).turn
        self._tell(Turns(first, first))
        last = self.order.place(before + count - 1).turn
        self._tell(Turns(first, last))
        for turn in range(first, last + 1):
            shard = self.order.shard(turn)
            if self.rows_in(shard, turn):
                self._shards.wait_for(shard)

    def _tell(self, turns: Turns) -> None:
        if self._ahead is not None:
            self._ahead.reach(turns)

    def fetch(self, indices: NDArray[np.int64]) -> Rows:
        """Return the rows with some numbers, in that order; wait for shards that are not prepared yet."""
        shards, rows = np.divmod(np.asarray(indices, np.int64), ROWS)
        numbers = np.unique(shards)
        blocks = [self._blocks(number) for number in numbers.tolist()]
        fetched = gathered(blocks, np.searchsorted(numbers, shards), rows)
        return replace(fetched, text=self._text, frequencies=self._frequencies)

    def _blocks(self, number: int) -> RowSource:
        """Return the blocks of a shard, and close the one that was not read for the longest time: the disk keeps the space of a
        file that was removed until it is closed."""
        if (blocks := self._open.pop(number, None)) is None:
            blocks = self._blocks_of(self._shards.store(number))
        self._open[number] = blocks
        while len(self._open) > _OPEN:
            del self._open[next(iter(self._open))]
        return blocks
