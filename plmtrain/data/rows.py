"""Rows of tokens as the data gives them to a program, before anything is hidden, moved or added."""

from __future__ import annotations

from collections.abc import Sequence
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


def side_by_side(encoded: Sequence[tuple[NDArray[np.int64], NDArray[np.bool_]]], padding: int) -> Rows:
    """Rows of texts of any length.

    Args:
        encoded: the ids and word starts of each text.  # [tokens] each
        padding: the id behind the shorter ones.
    """
    lengths = np.array([len(ids) for ids, _ in encoded], np.int64)
    tokens = np.full((len(encoded), lengths.max(initial=0)), padding, np.int64)
    word_starts = np.zeros(tokens.shape, np.bool_)
    for row, (ids, starts) in enumerate(encoded):
        tokens[row, : len(ids)], word_starts[row, : len(ids)] = ids, starts
    return Rows(tokens=tokens, lengths=lengths, word_starts=word_starts)
