"""The order of a stream: each row once in an epoch, shard after shard, from counts of rows alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plmtrain.data.shards.shard_order import ROWS, ShardOrder, shards_in_turn
from plmtrain.errors import TooLittleText

COUNTS = st.lists(st.integers(0, 9), min_size=1, max_size=6).filter(any)


def order(counts: Sequence[int], seed: int = 3, first_turn: Callable[[], int] = lambda: 0, skipped: int = 0) -> ShardOrder:
    return ShardOrder(seed, len(counts), lambda shard, turn: counts[shard], first_turn, skipped)


@settings(max_examples=20)
@given(COUNTS, st.integers(0, 2**60))
def test_an_epoch_has_every_row_of_every_shard_once_and_shard_after_shard(counts: list[int], seed: int) -> None:
    total = sum(counts)
    keys = order(counts, seed).keys(seed, 0, 3 * total)
    shards, rows = np.divmod(keys.samples, ROWS)
    for epoch in range(3):
        here = slice(epoch * total, (epoch + 1) * total)
        assert (keys.epochs[here] == epoch).all()
        read = list(zip(shards[here].tolist(), rows[here].tolist(), strict=True))
        assert sorted(read) == [(shard, row) for shard, count in enumerate(counts) for row in range(count)]
        begun = [shard for place, shard in enumerate(shards[here]) if place == 0 or shard != shards[here][place - 1]]
        assert len(begun) == np.count_nonzero(counts)  # none is left and taken up again


@settings(max_examples=20)
@given(COUNTS, st.integers(0, 50), st.integers(1, 30), st.integers(1, 30))
def test_a_step_is_found_from_any_place(counts: list[int], before: int, one: int, other: int) -> None:
    """As after a resume: by an order that has not read what comes before."""
    whole = order(counts).keys(3, before, one + other)
    parts = order(counts).keys(3, before, one), order(counts).keys(3, before + one, other)
    for name in ("epochs", "samples"):
        assert getattr(whole, name).tolist() == [value for part in parts for value in getattr(part, name).tolist()]


def test_the_order_depends_on_the_seed_and_changes_from_epoch_to_epoch() -> None:
    assert sorted(shards_in_turn(1, 40, 0, 40)) == sorted(shards_in_turn(1, 40, 40, 40)) == list(range(40))
    turns = [tuple(shards_in_turn(seed, 40, first, 40)) for seed in (1, 2) for first in (0, 40)]
    assert len(set(turns)) == 4
    assert shards_in_turn(1, 40, 35, 10) == [*turns[0][35:], *turns[1][:5]]
    rows = [tuple(order([500], seed).keys(seed, first, 500).samples.tolist()) for seed in (1, 2) for first in (0, 500)]
    assert len(set(rows)) == 4


def test_only_the_shards_that_are_read_and_those_before_are_counted() -> None:
    asked: list[int] = []

    def rows_in(shard: int, turn: int) -> int:
        asked.append(turn)
        return 10

    stream = ShardOrder(3, 8, rows_in)
    stream.keys(3, 17, 3)  # up to the last row of the second shard
    assert set(asked) == {0, 1}
    assert stream.place(20) == (2, 0)
    assert set(asked) == {0, 1, 2}


def test_rows_of_another_length_begin_with_the_next_shard() -> None:
    """And rows of a length that comes again go on from there, without those that were read of it before."""
    short = order([10, 10, 10])
    assert short.turn_after(10) == 1
    assert short.turn_after(11) == 2
    long = order([4, 4, 4], first_turn=partial(short.turn_after, 15))
    assert long.place(0) == (2, 0)
    again = order([10, 10, 10], first_turn=partial(long.turn_after, 3), skipped=15)
    assert again.place(15) == (3, 0)
    assert again.keys(3, 15, 10).samples.tolist() == order([10, 10, 10]).keys(3, 30, 10).samples.tolist()


def test_a_stream_without_any_row_is_refused() -> None:
    with pytest.raises(TooLittleText, match="no file of the stream fills one row"):
        order([0, 0, 0]).keys(3, 0, 1)


def test_no_row_comes_before_the_first() -> None:
    with pytest.raises(AssertionError):
        order([5, 5], skipped=8).place(7)
