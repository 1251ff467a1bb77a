"""One function over many items on several processes."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Iterator

import pytest

from plmtrain.data.corpus.processes import ordered_map
from plmtrain.errors import DataError


def slow_square(offset: int, item: int) -> int:
    time.sleep(0.01 * (item % 3))  # so that they do not end in order
    return item * item + offset


def refuse_seven(_: None, item: int) -> int:
    if item == 7:
        raise DataError("seven is no number", "here", "take eight")
    return item


def own_id(_: None, item: int) -> int:
    return os.getpid()


@pytest.mark.parametrize("processes", [1, 3])
def test_results_are_in_the_order_of_the_items(processes: int) -> None:
    with ordered_map(slow_square, 5, range(40), processes) as results:
        assert list(results) == [item * item + 5 for item in range(40)]


def test_no_more_processes_than_items_are_started() -> None:
    with ordered_map(own_id, None, range(2), 200) as results:
        assert len(set(results)) <= 2
        assert len(multiprocessing.active_children()) <= 2


@pytest.mark.parametrize("processes", [1, 2])
def test_no_items(processes: int) -> None:
    with ordered_map(slow_square, 5, [], processes) as results:
        assert list(results) == []


def test_items_are_read_as_the_work_goes_on() -> None:
    """Memory does not depend on how many there are."""
    read = 0

    def items() -> Iterator[int]:
        nonlocal read
        for number in range(1, 201):
            read = number
            yield number

    with ordered_map(slow_square, 0, items(), 2) as results:
        for done, _ in enumerate(results, start=1):
            assert read <= done + 8


def test_large_items_pass_both_ways() -> None:
    """Pipes hold 64 KB: whoever writes more waits until the other side reads."""
    with ordered_map(same, None, (bytes([item]) * 3_000_000 for item in range(8)), 2) as results:
        assert [result[:1] for result in results] == [bytes([item]) for item in range(8)]


def same(_: None, item: bytes) -> bytes:
    return item


@pytest.mark.parametrize("processes", [1, 2])
def test_an_error_arrives_as_it_is(processes: int) -> None:
    with pytest.raises(DataError) as caught, ordered_map(refuse_seven, None, range(20), processes) as results:
        list(results)
    assert (caught.value.what, caught.value.remedy) == ("seven is no number", "take eight")
    assert not multiprocessing.active_children()


def test_processes_end_with_the_block() -> None:
    with ordered_map(own_id, None, range(100), 2) as results:
        assert next(results) != os.getpid()
        assert len(multiprocessing.active_children()) == 2
    assert not multiprocessing.active_children()
