"""Rows of tokens as the data gives them to a program, before anything is hidden, moved or added."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Some rows, side by side.

    Args:
        tokens: [rows, length] token ids; what lies behind a row's length means nothing.
        lengths: [rows] how many tokens each row has.
        word_starts: [rows, length] whether a token begins a word (special tokens do).
        documents: [rows, length] the document of each token, counted from 0 in each row; None where rows are not divided.
    """

    tokens: NDArray[np.int64]
    lengths: NDArray[np.int64]
    word_starts: NDArray[np.bool_]
    documents: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.tokens)


class RowSource(Protocol):
    """Rows by index, each at the same cost wherever it lies."""

    def __len__(self) -> int:
        """Rows in an epoch."""
        ...

    def fetch(self, indices: NDArray[np.int64]) -> Rows:
        """The rows at some indices, in that order."""
        ...
