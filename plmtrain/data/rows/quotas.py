"""Shares and exact quotas of the sources of a mixture, in proportion to their sizes to a power.

With sizes n_i, source i has the share q_i = n_i^alpha / sum_j n_j^alpha (Lample and Conneau 2019, section 3.1): alpha 1 keeps
the sizes as they are, alpha 0 gives all sources the same share, and values between raise the share of small languages moderately.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray


def shares(sizes: Sequence[int], exponent: float) -> NDArray[np.float64]:
    """Return the share of each source.

    Args:
        sizes: the sizes of the sources; an empty one has no share.
        exponent: the power, alpha.
    """
    powers = np.array([float(size) ** exponent if size else 0.0 for size in sizes])
    parts: NDArray[np.float64] = powers / max(powers.sum(), 1e-300)
    return parts


def quotas(sizes: Sequence[int], shares: Sequence[float]) -> list[int]:
    """Return the number of rows of each source in the shortest epoch that has every row of every source, in the given shares.

    The source that is largest in relation to its share is read once; the others are repeated.

    Args:
        sizes: the number of rows of each source.
        shares: the share of each source, adding up to 1; a source without rows or without a share has a quota of 0.
    """
    part = [Fraction(share).limit_denominator(10**9) if size else Fraction(0) for size, share in zip(sizes, shares, strict=True)]
    whole = sum(part)
    if not whole:
        return [0] * len(sizes)
    part = [one / whole for one in part]
    epoch = max(-(-size // share) for size, share in zip(sizes, part, strict=True) if share)
    return apportioned(int(epoch), part)


def apportioned(total: int, parts: Sequence[float | Fraction]) -> list[int]:
    """Divide a number of rows by largest remainder: the quotas add up, and each differs from the exact value by less than one.

    Args:
        total: the number of rows.
        parts: the size of each part, relative to their sum, which is above 0.
    """
    whole = sum(Fraction(part) for part in parts)
    exact = [total * Fraction(part) / whole for part in parts]
    given = [int(amount) for amount in exact]
    left = total - sum(given)
    for index in sorted(range(len(given)), key=lambda index: (given[index] - exact[index], index))[:left]:
        given[index] += 1
    return given


class Repeats:
    """Counts of how often each text of a language is repeated so that languages reach their shares: the largest has one copy.

    Args:
        sizes: the size of each language, in letters.
        exponent: the power, alpha.
    """

    def __init__(self, sizes: Mapping[int, int], exponent: float) -> None:
        languages = sorted(sizes)
        given = shares([sizes[language] for language in languages], exponent)
        factors = {
            language: share / sizes[language]
            for language, share in zip(languages, given.tolist(), strict=True)
            if sizes[language]
        }
        least = min(factors.values(), default=1.0)
        self._factors = {language: factor / least for language, factor in factors.items()}
        self._read = dict.fromkeys(languages, 0)

    def next(self, language: int) -> int:
        """Return how often the next text of a language is repeated."""
        number, factor = self._read[language], self._factors.get(language, 1.0)
        self._read[language] = number + 1
        return int(factor * (number + 1)) - int(factor * number)
