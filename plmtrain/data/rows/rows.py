"""Rows of tokens as the data gives them to a program, before anything is hidden, moved or added."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Some rows, side by side.

    Args:
        tokens: [rows, length] token ids; what lies behind a row's length means nothing.
        lengths: [rows] how many tokens each row has.
        word_starts: [rows, length] whether a token begins a word (special tokens do).
        documents: [rows, length] the document of each token: equal numbers within a row, or from row to row of a stream, are
            one document; None where rows are not divided.
        sentence_starts: [rows, length] whether a token begins a sentence; None where the source does not say.
        fresh: [rows] whether a row begins its stream anew; None where no row goes on from another.
        others: for each row a text from elsewhere; None where the source gives none.
        text: [any number] all tokens of the text that the rows were cut from, to draw tokens as often as they stand there; None
            where the source does not hand it out.
    """

    tokens: NDArray[np.int64]
    lengths: NDArray[np.int64]
    word_starts: NDArray[np.bool_]
    documents: NDArray[np.int64] | None = None
    sentence_starts: NDArray[np.bool_] | None = None
    fresh: NDArray[np.bool_] | None = None
    others: Rows | None = None
    text: NDArray[np.unsignedinteger] | None = None

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


@runtime_checkable
class StreamSource(RowSource, Protocol):
    """Rows that go on from one another: row ``time * streams + stream`` follows the row ``streams`` before it. A step reads
    the rows of one time, all streams at once.

    Args:
        streams: how many there are.
    """

    streams: int


def streams_of(source: RowSource) -> int | None:
    """How many streams a source has; None where its rows stand by themselves."""
    return source.streams if isinstance(source, StreamSource) else None


@dataclass(frozen=True)
class PartedRows:
    """Rows of a program that is made of others.

    Args:
        parts: by name, the rows of each.
    """

    parts: Mapping[str, RowSource]

    def __len__(self) -> int:
        """Rows in an epoch: those of the part that has most."""
        return max(map(len, self.parts.values()))


def rows_of(source: RowSource | PartedRows, part: str | None) -> RowSource:
    """The rows of one part of a program; those of the whole where it has no parts."""
    if not isinstance(source, PartedRows):
        return source
    assert part is not None, "a step reads the rows of the part that it trains"
    return source.parts[part]


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
