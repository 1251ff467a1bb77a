"""Random numbers as a function of their purpose and place, never of earlier draws.

A number is the hash of (purpose, seed, epoch, sample, position), so that a mask or a permutation is the same in one process or
eight, before and after a resume. The hash is the output function of SplitMix64 (Steele, Lea and Flood 2014, "Fast splittable
pseudorandom number generators"), vectorised over samples and positions. Epoch and sample each pass through it before they are
combined, so that neighbouring keys are unrelated.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import cast

import numpy as np
from numpy.typing import NDArray

Bits = NDArray[np.uint64]
Orders = NDArray[np.uint32]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND, _THIRD = np.uint64(30), np.uint64(27), np.uint64(31)
_FIRST_FACTOR, _SECOND_FACTOR = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


@dataclass(frozen=True)
class Keys:
    """The keys of some rows' random numbers.

    Args:
        seed: the run's seed.
        epochs: [rows] how often each sample was seen before.
        samples: [rows] the index of each sample in the data.
    """

    seed: int
    epochs: NDArray[np.int64]
    samples: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.samples)


def _mix(x: Bits) -> Bits:
    """Apply SplitMix64's finaliser in place: a bijection, so that different numbers stay different."""
    shifted = x >> _FIRST
    x ^= shifted
    x *= _FIRST_FACTOR
    x ^= np.right_shift(x, _SECOND, out=shifted)
    x *= _SECOND_FACTOR
    x ^= np.right_shift(x, _THIRD, out=shifted)
    return x


@lru_cache(maxsize=256)
def _purpose(purpose: str) -> int:
    return int.from_bytes(hashlib.blake2b(purpose.encode(), digest_size=8).digest(), "little")


def _absorb(state: Bits, word: NDArray[np.int64] | int) -> Bits:
    """Return the state after one more word of the key."""
    return _mix((state ^ np.asarray(word).astype(np.uint64)) + _GOLDEN)


@lru_cache(maxsize=256)
def _seeded(purpose: str, seed: int) -> np.uint64:
    """Return the state after a purpose and a seed, which all rows share."""
    return np.uint64(_absorb(np.full(1, _purpose(purpose), np.uint64), seed)[0])


def row_bits(purpose: str, keys: Keys) -> Bits:
    """Return one 64-bit number for each row.  # [rows]"""
    (states,) = several_row_bits((purpose,), keys)
    return cast(Bits, states)


def several_row_bits(purposes: Sequence[str], keys: Keys) -> Bits:
    """Return ``row_bits`` of several purposes at the cost of one.  # [purposes, rows]"""
    seeded = np.array([[_seeded(purpose, keys.seed)] for purpose in purposes])
    return _absorb(_absorb(seeded, keys.epochs), keys.samples)


def spread(rows: Bits, length: int) -> Bits:
    """Return many numbers from one number for each row: those of a row are all different.

    Args:
        rows: [rows] from ``row_bits``.
        length: positions in a row. The first numbers of a row do not depend on it.

    Returns:
        [rows, length] 64-bit integers.
    """
    counter = np.arange(1, length + 1, dtype=np.uint64) * _GOLDEN
    return _mix(rows[:, None] + counter)


def spread_at(rows: Bits, positions: NDArray[np.int64]) -> Bits:
    """Return the numbers of ``spread`` at some positions only.

    Args:
        rows: [n] the number of each position's row, or any shape that broadcasts with the positions.
        positions: [n] positions in those rows.
    """
    return _mix(rows + (positions.astype(np.uint64) + np.uint64(1)) * _GOLDEN)


def orders(rows: Bits, length: int) -> Orders:
    """Return a random order of the positions of each row, with half the work of ``spread``; use it where only the order matters.

    Args:
        rows: [rows] from ``row_bits``.
        length: positions in a row. The first numbers of a row are the same for all lengths up to 1023.

    Returns:
        [rows, length] numbers that are different within a row. The high bits are random; the low ones, as many as
        ``position_bits`` gives, are the position itself, which decides the order where the high bits are equal: for one pair in
        2**22 up to 1023 positions. No number is the highest of its type.
    """
    low = position_bits(length)
    # Two numbers from one hash.
    numbers = spread(rows, (length + 1) // 2).view(np.uint32)[:, :length]
    numbers &= np.uint32(2**32 - 2**low)
    numbers |= np.arange(length, dtype=np.uint32)
    return numbers


def position_bits(length: int) -> int:
    """Return how many low bits of ``orders`` contain the position.

    Raises:
        ValueError: beyond 2**20 positions, where too few random bits would be left.
    """
    if length > 2**20:
        raise ValueError(f"{length} positions in a row are too many to be put in a random order")
    return max(10, length.bit_length())  # so that no position is all ones


def bits(purpose: str, keys: Keys, length: int) -> Bits:
    """Return 64-bit numbers, one for each position of each row.

    Args:
        purpose: of the numbers; different purposes give unrelated numbers.
        keys: the seed, epoch and sample of each row.
        length: positions in a row. The first numbers of a row do not depend on it.

    Returns:
        [rows, length] uniform over all 64-bit integers.
    """
    return spread(row_bits(purpose, keys), length)


def as_uniform(random: Bits) -> NDArray[np.float64]:
    """Return numbers in [0, 1) with 53 random bits."""
    numbers: NDArray[np.float64] = np.multiply(random >> np.uint64(11), 2.0**-53, dtype=np.float64)
    return numbers


def as_integers(random: Bits, below: int | NDArray[np.int64]) -> NDArray[np.int64]:
    """Return integers in [0, below), by the high half's fixed-point product: the bias is less than below / 2**32.

    Raises:
        ValueError: if ``below`` is not within [1, 2**32).
    """
    least, most = (below, below) if isinstance(below, int) else (np.min(below, initial=1), np.max(below, initial=1))
    if least < 1 or most >= 2**32:
        raise ValueError("below must be within [1, 2**32)")
    high = (random >> np.uint64(32)) * np.asarray(below).astype(np.uint64)
    return (high >> np.uint64(32)).astype(np.int64)


def uniform(purpose: str, keys: Keys, length: int) -> NDArray[np.float64]:
    """Return numbers in [0, 1), one for each position of each row.  # [rows, length]"""
    return as_uniform(bits(purpose, keys, length))


def integers(purpose: str, keys: Keys, length: int, below: int | NDArray[np.int64]) -> NDArray[np.int64]:
    """Return integers in [0, below), one for each position of each row.  # [rows, length]"""
    return as_integers(bits(purpose, keys, length), below)


def scalar(purpose: str, *words: int) -> int:
    """Return one number below 2**63: a seed for a library's generator, or a draw that a group of processes shares."""
    state = np.full(1, _purpose(purpose), np.uint64)
    for word in words:
        state = _absorb(state, word)
    return int(state[0] >> np.uint64(1))


def permute(positions: NDArray[np.int64], size: int, purpose: str, *words: int) -> NDArray[np.int64]:
    """Return the images of some positions under a keyed permutation of range(size), without building the permutation.

    It is an eight-round Feistel network (four leave a bias among fewer than twenty) on the smallest even number of bits holding
    ``size``, iterated until the image is in range (Black and Rogaway 2002, "Ciphers with arbitrary finite domains"), so that
    seeking to any position costs the same.

    Args:
        positions: [n] positions within range(size).
        size: the number of positions.
        purpose, words: the key.

    Returns:
        [n] distinct images for distinct positions, within range(size).
    """
    if size < 1:
        raise ValueError("there is nothing to permute")
    half = np.uint64(max(1, (int(size - 1).bit_length() + 1) // 2))
    low = np.uint64((1 << int(half)) - 1)
    keys = [np.uint64(scalar(purpose, *words, turn)) for turn in range(8)]
    images = np.asarray(positions).astype(np.uint64)
    outside = np.arange(images.size)
    while outside.size:
        x = images[outside]
        left, right = x >> half, x & low
        for key in keys:
            left, right = right, left ^ (_mix((right ^ key) + _GOLDEN) & low)
        images[outside] = x = (left << half) | right
        outside = outside[x >= np.uint64(size)]
    return images.astype(np.int64)
