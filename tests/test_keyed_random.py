"""Keyed random numbers: statistics against exact laws, and the properties that resuming rests on.

Everything is deterministic, so that no test can fail by bad luck; bounds are five standard deviations wide.
"""

from __future__ import annotations

import math
import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from plmtrain.keyed_random import (
    Keys,
    as_integers,
    as_uniform,
    bits,
    integers,
    orders,
    permute,
    position_bits,
    row_bits,
    scalar,
    uniform,
)


def keys(count: int, *, seed: int = 1, epoch: int = 0, first: int = 0) -> Keys:
    return Keys(seed, np.full(count, epoch, np.int64), np.arange(first, first + count))


def deviation(observed: NDArray[np.int64], expected: float) -> float:
    """Chi-square as standard deviations from its mean (Wilson and Hilferty 1931)."""
    freedom = observed.size - 1
    chi = float(((observed - expected) ** 2 / expected).sum())
    return ((chi / freedom) ** (1 / 3) - (1 - 2 / (9 * freedom))) / math.sqrt(2 / (9 * freedom))


def assert_uniform(cells: NDArray[np.int64], count: int) -> None:
    assert abs(deviation(np.bincount(cells.ravel(), minlength=count), cells.size / count)) < 5


def assert_independent(first: NDArray[np.float64], second: NDArray[np.float64]) -> None:
    """Pairs fall evenly on a 16 x 16 board."""
    assert_uniform((first * 16).astype(np.int64) * 16 + (second * 16).astype(np.int64), 256)


class TestDistribution:
    def test_uniform(self) -> None:
        numbers = uniform("test", keys(2000), 500)
        assert numbers.min() >= 0
        assert numbers.max() < 1
        assert_uniform((numbers * 1000).astype(np.int64), 1000)

    def test_every_bit_is_fair(self) -> None:
        numbers = bits("test", keys(1000), 200).ravel()
        for bit in range(64):
            ones = int((numbers >> np.uint64(bit) & np.uint64(1)).sum())
            assert abs(ones - numbers.size / 2) < 5 * math.sqrt(numbers.size) / 2, bit

    @pytest.mark.parametrize("below", [1, 2, 3, 7, 1000, 30522])
    def test_integers(self, below: int) -> None:
        numbers = integers("test", keys(1000), 512, below)
        assert numbers.min() >= 0
        assert numbers.max() < below
        if below > 1:
            assert_uniform(numbers, below)

    def test_integers_below_a_number_for_each_row(self) -> None:
        below = np.array([1, 2, 5, 100])
        numbers = integers("test", keys(4), 1000, below[:, None])
        assert (numbers < below[:, None]).all()
        assert [len(set(row)) for row in numbers.tolist()] == [1, 2, 5, 100]

    def test_integers_reach_both_ends(self) -> None:
        extremes = np.array([0, 2**64 - 1], np.uint64)
        assert as_integers(extremes, 50265).tolist() == [0, 50264]
        assert as_uniform(extremes).tolist() == [0.0, 1 - 2.0**-53]

    @pytest.mark.parametrize("below", [0, -1, 2**32])
    def test_integers_refuse_what_they_cannot_draw(self, below: int) -> None:
        with pytest.raises(ValueError, match="below"):
            integers("test", keys(1), 1, below)

    def test_birthdays(self) -> None:
        """64-bit numbers repeat as rarely as chance has it: an expected 2.4e-8 pairs among a million; fairseq's key gave 34,415
        different seeds."""
        numbers = row_bits("test", keys(1_000_000))
        assert len(np.unique(numbers)) == 1_000_000


class TestIndependence:
    """Neighbouring keys share nothing: pairs of numbers fall evenly on a board."""

    def test_neighbouring_samples(self) -> None:
        numbers = uniform("test", keys(1001), 256)
        assert_independent(numbers[:-1], numbers[1:])

    def test_neighbouring_positions(self) -> None:
        numbers = uniform("test", keys(1000), 257)
        assert_independent(numbers[:, :-1], numbers[:, 1:])

    def test_neighbouring_epochs(self) -> None:
        assert_independent(uniform("test", keys(1000, epoch=3), 256), uniform("test", keys(1000, epoch=4), 256))

    def test_neighbouring_seeds(self) -> None:
        assert_independent(uniform("test", keys(1000, seed=1), 256), uniform("test", keys(1000, seed=2), 256))

    def test_purposes(self) -> None:
        assert_independent(uniform("mask", keys(1000), 256), uniform("mask2", keys(1000), 256))

    def test_diagonals(self) -> None:
        """Position p of sample s and position p + 1 of sample s - 1: a key that adds its parts up gives the same number."""
        numbers = uniform("test", keys(1001), 257)
        assert_independent(numbers[1:, :-1], numbers[:-1, 1:])
        assert not np.isclose(numbers[1:, :-1], numbers[:-1, 1:]).mean() > 1e-3

    def test_epoch_and_sample_do_not_change_places(self) -> None:
        swapped = bits("test", Keys(1, np.array([2]), np.array([3])), 8), bits("test", Keys(1, np.array([3]), np.array([2])), 8)
        assert not np.intersect1d(*swapped).size

    def test_avalanche(self) -> None:
        """Half of the bits change with any bit of the sample."""
        one = row_bits("test", keys(4096))
        for bit in range(12):
            other = row_bits("test", Keys(1, np.zeros(4096, np.int64), np.arange(4096) ^ (1 << bit)))
            changed = np.unpackbits((one ^ other).view(np.uint8)).sum()
            assert abs(int(changed) - 32 * 4096) < 5 * math.sqrt(64 * 4096 / 4), bit


class TestProperties:
    @given(st.integers(0, 2**63 - 1), st.integers(0, 2**40), st.integers(0, 2**62), st.integers(1, 40), st.integers(0, 40))
    def test_first_numbers_do_not_depend_on_the_length(self, seed: int, epoch: int, sample: int, length: int, more: int) -> None:
        key = Keys(seed, np.array([epoch]), np.array([sample]))
        assert (bits("test", key, length + more)[:, :length] == bits("test", key, length)).all()

    def test_a_row_does_not_depend_on_its_neighbours(self) -> None:
        together = bits("test", keys(50), 16)
        for row in (0, 7, 49):
            assert (bits("test", keys(1, first=row), 16) == together[row : row + 1]).all()

    def test_no_state(self) -> None:
        before = bits("test", keys(5), 5)
        np.random.seed(0)
        uniform("other", keys(100), 100)
        assert (bits("test", keys(5), 5) == before).all()

    def test_the_same_in_another_process(self) -> None:
        """Python's own hash differs between processes; ours must not."""
        code = "from plmtrain.keyed_random import scalar; print(scalar('purpose', 5, 2**62))"
        told = {subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() for _ in range(2)}
        assert told == {str(scalar("purpose", 5, 2**62))}

    def test_scalar_fits_a_seed(self) -> None:
        numbers = [scalar("dropout", 1, step) for step in range(10_000)]
        assert len(set(numbers)) == len(numbers)
        assert all(0 <= number < 2**63 for number in numbers)
        assert scalar("dropout", 1, 2) != scalar("dropout", 2, 1)


class TestPermutation:
    @given(st.integers(1, 5000), st.integers(0, 2**63 - 1), st.integers(0, 1000))
    def test_is_a_bijection(self, size: int, seed: int, epoch: int) -> None:
        assert (np.sort(permute(np.arange(size), size, "order", seed, epoch)) == np.arange(size)).all()

    @pytest.mark.parametrize("size", [*range(1, 70), 255, 256, 257, 1023, 1024, 1025, 4095, 4096, 4097, 65536, 65537])
    def test_is_a_bijection_around_powers_of_two(self, size: int) -> None:
        assert (np.sort(permute(np.arange(size), size, "order", 1, 0)) == np.arange(size)).all()

    def test_positions_are_seen_one_by_one(self) -> None:
        whole = permute(np.arange(1000), 1000, "order", 1, 0)
        some = np.array([999, 0, 500, 3])
        assert (permute(some, 1000, "order", 1, 0) == whole[some]).all()

    @pytest.mark.parametrize("size", [5, 12, 100])
    def test_looks_uniform(self, size: int) -> None:
        """Over many keys each position goes everywhere equally often, and so does each pair of neighbours."""
        images = np.stack([permute(np.arange(size), size, "order", 1, epoch) for epoch in range(1500)])
        for position in (0, 1, size // 2, size - 1):
            assert_uniform(images[:, position], size)
        differences = (images[:, 1] - images[:, 0]) % size - 1
        assert_uniform(differences, size - 1)

    def test_leaves_no_order(self) -> None:
        """As many fixed points, rises and displacements as a random permutation has."""
        size = 100_000
        images = permute(np.arange(size), size, "order", 1, 0)
        assert (images == np.arange(size)).sum() < 10  # 1 expected
        rises = int((np.diff(images) > 0).sum())
        assert abs(rises - size / 2) < 5 * math.sqrt(size / 12)
        correlation = float(np.corrcoef(images, np.arange(size))[0, 1])
        assert abs(correlation) < 5 / math.sqrt(size)

    def test_epochs_and_seeds_differ(self) -> None:
        orders = [permute(np.arange(1000), 1000, "order", *key) for key in ((1, 0), (1, 1), (2, 0))]
        for first, second in ((0, 1), (0, 2), (1, 2)):
            assert (orders[first] == orders[second]).sum() < 12  # 1 expected

    def test_seeking_costs_nothing(self) -> None:
        """Ten samples at the end of ten billion, at once."""
        size = 10**10
        began = time.perf_counter()
        images = permute(np.arange(size - 10, size), size, "order", 1, 0)
        assert time.perf_counter() - began < 0.5
        assert len(set(images.tolist())) == 10
        assert (images < size).all()

    def test_nothing_to_permute(self) -> None:
        with pytest.raises(ValueError, match="nothing"):
            permute(np.arange(0), 0, "order")


class TestOrders:
    @pytest.mark.parametrize("length", [1, 2, 3, 126, 127, 128, 512, 1023])
    def test_numbers_differ_within_a_row_and_hold_their_position(self, length: int) -> None:
        numbers = orders(row_bits("test", keys(50)), length)
        assert numbers.shape == (50, length)
        assert all(len(set(row)) == length for row in numbers.tolist())
        assert np.array_equal(numbers & np.uint32(2 ** position_bits(length) - 1), np.tile(np.arange(length), (50, 1)))
        assert numbers.max() < 2**32 - 1

    def test_a_row_padded_further_keeps_its_order(self) -> None:
        random = row_bits("test", keys(20))
        assert np.array_equal(orders(random, 1023)[:, :77], orders(random, 77))

    def test_every_order_is_as_likely(self) -> None:
        ranks = np.argsort(np.argsort(orders(row_bits("test", keys(120_000)), 5), axis=1), axis=1)
        assert_uniform(np.unique(ranks @ 5 ** np.arange(5), return_inverse=True)[1], math.factorial(5))

    def test_too_long_rows_are_refused(self) -> None:
        with pytest.raises(ValueError, match="too many"):
            orders(row_bits("test", keys(1)), 2**20 + 1)
