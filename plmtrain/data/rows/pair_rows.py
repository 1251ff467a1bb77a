"""Rows of segment pairs, which are cut when text is prepared (``plmtrain.data.corpus.pair_store``)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from plmtrain.data.corpus.pair_store import PairStore
from plmtrain.data.corpus.store import Store
from plmtrain.data.rows.rows import Rows, side_by_side

Encoded = tuple[NDArray[np.int64], NDArray[np.bool_]]
"""The token ids of a text, and whether each token begins a word."""


@dataclass(frozen=True, kw_only=True)
class PairRows(Rows):
    """Rows of two segments, one directly after the other.

    Args:
        segments: [rows, length] the segment of each token: 0 for the first, 1 for the second and everything after it.
        labels: [rows] 1 where the second segment does not follow the first, else 0; None if unknown.
    """

    segments: NDArray[np.int64]
    labels: NDArray[np.int64] | None = None

    @classmethod
    def of(cls, pairs: Sequence[tuple[Encoded, Encoded]], padding: int) -> PairRows:
        """Make rows of pairs of texts, of which the second may be empty.

        Args:
            pairs: the ids and word starts of both texts.  # [tokens] each
            padding: the id that fills shorter rows.
        """
        joined = [tuple(np.concatenate(parts) for parts in zip(first, second, strict=True)) for first, second in pairs]
        rows = side_by_side([(ids, starts) for ids, starts in joined], padding)
        first = np.array([len(ids) for (ids, _), _ in pairs], np.int64)
        segments = (np.arange(rows.tokens.shape[1]) >= first[:, None]).astype(np.int64)
        return cls(tokens=rows.tokens, lengths=rows.lengths, word_starts=rows.word_starts, segments=segments)


def first_lengths(rows: Rows) -> NDArray[np.int64]:
    """Return the number of tokens in the first segment of each row: all of them if rows have no segments.  # [rows]"""
    if not isinstance(rows, PairRows):
        return rows.lengths
    first: NDArray[np.int64] = np.minimum(np.count_nonzero(rows.segments == 0, axis=1), rows.lengths)
    return first


def asked_pairs(rows: Rows) -> PairRows:
    """Return rows as pairs; rows without segments become one segment each."""
    if isinstance(rows, PairRows):
        return rows
    none = np.zeros(rows.tokens.shape, np.int64)
    return PairRows(tokens=rows.tokens, lengths=rows.lengths, word_starts=rows.word_starts, segments=none)


class PairSource:
    """A source whose row i is pair i of all copies.

    Args:
        store: one split of the prepared data.
        pairs: the pairs that were cut from it.
        length: tokens in a row, including those after a shorter pair.
    """

    def __init__(self, store: Store, pairs: PairStore, length: int) -> None:
        self._store, self._pairs, self._length = store, pairs, length

    def __len__(self) -> int:
        return len(self._pairs)

    def __reduce__(self) -> tuple[object, ...]:
        # Another process opens the mapped arrays again: they are not copied to it.
        return _reopened, (self._store, self._pairs.folder, self._length)

    def fetch(self, indices: NDArray[np.int64]) -> PairRows:
        """Return the rows at some indices, in that order."""
        pairs, indices = self._pairs, np.asarray(indices)
        first, second = (starts[indices].astype(np.int64)[:, None] for starts in pairs.starts)
        first_length, second_length = (lengths[indices].astype(np.int64)[:, None] for lengths in pairs.lengths)
        lengths = first_length + second_length
        place = np.minimum(np.arange(self._length), lengths - 1)  # after a pair its last token is repeated: it has no meaning
        in_second = place >= first_length
        source = np.where(in_second, second - first_length, first) + place
        return PairRows(
            tokens=self._store.tokens[source].astype(np.int64),
            lengths=lengths[:, 0],
            word_starts=self._store.word_starts[source],
            segments=in_second.astype(np.int64),
            labels=pairs.changed[indices].astype(np.int64),
        )


def _reopened(store: Store, folder: object, length: int) -> PairSource:
    from pathlib import Path

    return PairSource(store, PairStore.open(Path(str(folder))), length)
