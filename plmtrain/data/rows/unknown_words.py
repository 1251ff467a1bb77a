"""The spellings of words that a vocabulary of whole words lacks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from plmtrain.text.spelling import MOST_BYTES, Bytes


@dataclass(frozen=True)
class UnknownWords:
    """The unknown words of a text.

    Args:
        places: [words] their places among the tokens of the text, ascending.
        spellings: [words, bytes] their bytes.
    """

    places: NDArray[np.int64]
    spellings: Bytes

    def __post_init__(self) -> None:
        assert len(self.places) == len(self.spellings), "every unknown word has a spelling"

    def at(self, places: NDArray[np.int64]) -> Bytes:
        """Return the bytes of the words at some places; zeros where a word is known.

        Args:
            places: [...] among the tokens of the text.

        Returns:
            [..., bytes].
        """
        spelt = np.zeros((*places.shape, MOST_BYTES), np.uint8)
        if len(self.places):
            nearest = np.minimum(np.searchsorted(self.places, places), len(self.places) - 1)
            unknown = self.places[nearest] == places
            spelt[unknown] = self.spellings[nearest[unknown]]
        return spelt
