"""How much each source of a mixture gives: in proportion to its size to a power, and exactly, by fixed quotas.

With sizes n_i, source i has the share q_i = n_i^alpha / sum_j n_j^alpha (Lample and Conneau 2019, section 3.1): alpha 1 takes
text as it is, 0 takes all sources alike, and what lies between lifts small languages without drowning in them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray


def shares(sizes: Sequence[int], exponent: float) -> NDArray[np.float64]:
    """The share of each source.

    Args:
        sizes: of the sources; an empty one has no share.
        exponent: the power.
    """
    powers = np.array([float(size) ** exponent if size else 0.0 for size in sizes])
    parts: NDArray[np.float64] = powers / max(powers.sum(), 1e-300)
    return parts


def quotas(sizes: Sequence[int], shares: Sequence[float]) -> list[int]:
    """How many rows of each source an epoch has: as few as let it have every row of every source once, in the shares given.

    The source that its share is hardest on is read once through; the others go round again.

    Args:
        sizes: rows of each source.
        shares: of each source, adding up to 1; a source without rows or without a share gives none.
    """
    part = [Fraction(share).limit_denominator(10**9) if size else Fraction(0) for size, share in zip(sizes, shares, strict=True)]
    whole = sum(part)
    if not whole:
        return [0] * len(sizes)
    part = [one / whole for one in part]
    epoch = max(-(-size // share) for size, share in zip(sizes, part, strict=True) if share)
    # By the largest remainders, so that the quotas add up, and none is off by one row or more.
    exact = [epoch * share for share in part]
    given = [int(amount) for amount in exact]
    left = int(epoch) - sum(given)
    for index in sorted(range(len(part)), key=lambda index: (given[index] - exact[index], index))[:left]:
        given[index] += 1
    return given


class Repeats:
    """How often each next text of a language is taken, so that languages come to their shares: the largest once.

    Args:
        sizes: of each language, in letters.
        exponent: the power.
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
        """How often the next text of a language is taken."""
        number, factor = self._read[language], self._factors.get(language, 1.0)
        self._read[language] = number + 1
        return int(factor * (number + 1)) - int(factor * number)
