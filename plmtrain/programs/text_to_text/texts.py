"""Texts for an encoder and a decoder, made from the rows of a batch."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from plmtrain.corruption.sentinels import TextParts
from plmtrain.data.rows.rows import Rows

ValueT = TypeVar("ValueT", bound=np.generic)


@dataclass(frozen=True, kw_only=True)
class TextPair:
    """The texts that the encoder reads and the decoder writes for each row, without special tokens around them.

    Args:
        read: for the encoder.
        written: for the decoder.
        unseen: [written tokens] which tokens of ``written`` do not stand in ``read``, so that they cannot be copied; sentinels
            and special tokens may be among them.
    """

    read: TextParts
    written: TextParts
    unseen: NDArray[np.bool_]


class FlatRows:
    """The tokens of rows one after another, without padding.

    Args:
        rows: the rows.
    """

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self.lengths = rows.lengths

    @cached_property
    def _real(self) -> NDArray[np.bool_] | None:
        width = self._rows.tokens.shape[1]
        return None if (self.lengths == width).all() else np.arange(width) < self.lengths[:, None]

    @cached_property
    def ids(self) -> NDArray[np.int64]:
        """The token ids.  # [tokens]"""
        return self._flat(self._rows.tokens)

    @cached_property
    def begins(self) -> NDArray[np.int64]:
        """The first token of each row.  # [rows]"""
        return np.cumsum(self.lengths) - self.lengths

    @property
    def whole(self) -> TextParts:
        """All tokens of each row."""
        return TextParts(ids=self.ids, lengths=self.lengths, origins=np.arange(len(self.ids)))

    def as_rows(self, parts: TextParts) -> Rows:
        """Put parts of the rows side by side; each token is of the document of the one that it comes from."""
        documents = self._rows.documents
        return Rows(
            tokens=grid(parts.ids, parts.lengths, 0),
            lengths=parts.lengths,
            word_starts=grid(np.zeros(len(parts.ids), np.bool_), parts.lengths, False),
            documents=None if documents is None else grid(self._flat(documents).take(parts.origins), parts.lengths, 0),
        )

    def _flat(self, values: NDArray[np.int64]) -> NDArray[np.int64]:
        return values.reshape(-1) if self._real is None else values[self._real]


def grid(values: NDArray[ValueT], lengths: NDArray[np.int64], padding: int | bool) -> NDArray[ValueT]:
    """Put texts that stand one after another side by side.

    Args:
        values: [tokens] of each token.
        lengths: [rows] the tokens of each text.
        padding: the value after a shorter text.

    Returns:
        [rows, longest].
    """
    longest = int(lengths.max(initial=0))
    if len(values) == len(lengths) * longest:
        return values.reshape(len(lengths), longest)
    made = np.full((len(lengths), longest), padding, values.dtype)
    made[np.arange(longest) < lengths[:, None]] = values
    return made
