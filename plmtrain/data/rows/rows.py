"""Rows of tokens as the data gives them to a program, before anything is hidden, moved or added."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from plmtrain.corruption.spans import TokenText
from plmtrain.keyed_random import Keys
from plmtrain.text.spelling import Bytes


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Some rows, side by side.

    Args:
        tokens: [rows, length] token ids; those after a row's length have no meaning.
        lengths: [rows] the number of tokens in each row.
        word_starts: [rows, length] whether a token begins a word (special tokens do).
        documents: [rows, length] the document of each token: equal numbers within a row, or from row to row of a stream, are
            one document; None if rows are not divided into documents.
        sentence_starts: [rows, length] whether a token begins a sentence; None if the source does not know.
        times: [rows] the time of each row in its stream, 0 for the first one; None if no row continues another.
        others: for each row a text from elsewhere; None if the source has none.
        text: [any number] all tokens of the text that the rows were cut from, from which tokens are drawn as often as they occur;
            None if the source does not provide it.
        frequencies: [vocabulary] the share of each token in the training text; None if the source does not know.
        spellings: [rows, length, bytes] the bytes of words that a vocabulary of whole words lacks, zeros at all others
            (``plmtrain.text.spelling``); None where tokens are not whole words.
        cut: [rows] whether the text of a row was too long, so that only a part of it is there; None if the source does not know.
    """

    tokens: NDArray[np.int64]
    lengths: NDArray[np.int64]
    word_starts: NDArray[np.bool_]
    documents: NDArray[np.int64] | None = None
    sentence_starts: NDArray[np.bool_] | None = None
    times: NDArray[np.int64] | None = None
    others: Rows | None = None
    text: TokenText | None = None
    frequencies: NDArray[np.float64] | None = None
    spellings: Bytes | None = None
    cut: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def fresh(self) -> NDArray[np.bool_] | None:
        """Whether each row is the first of its stream; None if no row continues another.  # [rows]"""
        return None if self.times is None else self.times == 0


class RowSource(Protocol):
    """A source of rows by index; each row costs the same wherever it is."""

    def __len__(self) -> int:
        """Return the number of rows in an epoch."""
        ...

    def fetch(self, indices: NDArray[np.int64]) -> Rows:
        """Return the rows at some indices, in that order."""
        ...


@runtime_checkable
class StreamSource(RowSource, Protocol):
    """A source of rows that continue one another: row ``time * streams + stream`` continues the row ``streams`` before it. A step
    reads the rows of one time, all streams at once.

    Args:
        streams: the number of streams.
    """

    streams: int


def streams_of(source: RowSource) -> int | None:
    """Return the number of streams of a source; None if its rows are independent."""
    return source.streams if isinstance(source, StreamSource) else None


@runtime_checkable
class RaggedSource(RowSource, Protocol):
    """A source of rows of different lengths."""

    @property
    def sizes(self) -> NDArray[np.int64]:
        """The tokens of text in each row.  # [rows]"""
        ...


def sizes_of(source: RowSource) -> NDArray[np.int64] | None:
    """Return the tokens of text in each row of a source; None if all rows have the same length."""
    return source.sizes if isinstance(source, RaggedSource) else None


class RowOrder(Protocol):
    """The endless order in which training reads the rows of a source."""

    def keys(self, seed: int, before: int, count: int) -> Keys:
        """Return the keys of the rows that come after the first ``before`` rows of the order.

        Args:
            seed: the run's seed.
            before: the rows already read.
            count: the rows to read.
        """
        ...


@runtime_checkable
class OrderedSource(Protocol):
    """A source whose rows have an order of their own, instead of one keyed permutation of all rows for each epoch."""

    @property
    def order(self) -> RowOrder:
        """How they follow each other."""
        ...

    def fetch(self, indices: NDArray[np.int64]) -> Rows:
        """Return the rows with some numbers, as the order gives them, in that order."""
        ...


TrainingSource = RowSource | OrderedSource
"""A source of rows for training: those of an epoch are counted, or it knows their order."""


def order_of(source: TrainingSource) -> RowOrder | None:
    """Return the order that a source has of its own; None if it has none."""
    return source.order if isinstance(source, OrderedSource) else None


@runtime_checkable
class PassingSource(OrderedSource, Protocol):
    """A source that keeps only the rows around those that are read now."""

    def reach(self, before: int, count: int) -> None:
        """Prepare to read some rows, and wait until they can be read; no process will ask for earlier ones again.

        Args:
            before: the rows already read by all processes.
            count: the rows that they read now.
        """
        ...


def by_size(source: RowSource, count: int) -> NDArray[np.int64]:
    """Return the first ``count`` rows in the order of their lengths, so that little of a batch is padding.  # [count]"""
    sizes = sizes_of(source)
    return np.arange(count) if sizes is None else np.argsort(sizes[:count], kind="stable")


@dataclass(frozen=True)
class PartedRows:
    """The rows of a program that consists of other programs.

    Args:
        parts: the rows of each part, by name.
    """

    parts: Mapping[str, RowSource]

    def __len__(self) -> int:
        """Return the number of rows in an epoch: that of the part with the most rows."""
        return max(map(len, self.parts.values()))


SourceT = TypeVar("SourceT", bound=TrainingSource)


def rows_of(source: SourceT | PartedRows, part: str | None) -> SourceT | RowSource:
    """Return the rows of one part of a program, or of the whole program if it has no parts."""
    if not isinstance(source, PartedRows):
        return source
    assert part is not None, "a step reads the rows of the part that it trains"
    return source.parts[part]


def beside(own: NDArray[Any], other: NDArray[Any] | None) -> NDArray[Any]:
    """Join what rows have with what their ``others`` have, if there are any.  # [rows, width] each -> [rows, width + width]"""
    return own if other is None else np.concatenate([own, other], axis=1)


def side_by_side(encoded: Sequence[tuple[NDArray[np.int64], NDArray[np.bool_]]], padding: int) -> Rows:
    """Make rows of texts of any length.

    Args:
        encoded: the ids and word starts of each text.  # [tokens] each
        padding: the id that fills shorter rows.
    """
    lengths = np.array([len(ids) for ids, _ in encoded], np.int64)
    tokens = np.full((len(encoded), lengths.max(initial=0)), padding, np.int64)
    word_starts = np.zeros(tokens.shape, np.bool_)
    for row, (ids, starts) in enumerate(encoded):
        tokens[row, : len(ids)], word_starts[row, : len(ids)] = ids, starts
    return Rows(tokens=tokens, lengths=lengths, word_starts=word_starts)
