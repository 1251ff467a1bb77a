"""Rows of several texts in chosen shares, put side by side in the order of ``plmtrain.data.rows.mixing``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plmtrain.corruption.spans import TokenText
from plmtrain.data.rows.mixing import Mixing
from plmtrain.data.rows.rows import PartedRows, Rows, RowSource, StreamSource

_OF_ALL_ROWS = frozenset({"text", "frequencies"})
"""The fields of ``Rows`` that no row has for itself."""


class MixedText:
    """Several texts as one from which tokens are drawn at random places: each text has its share of the places.

    Args:
        texts: their tokens.  # [tokens] each
        shares: the share of each, relative to their sum.
    """

    def __init__(self, texts: Sequence[TokenText], shares: Sequence[float]) -> None:
        self._texts = texts
        self._sizes = np.array([len(text) for text in texts], np.float64)
        ends = np.cumsum(np.array(shares) / sum(shares)) * self._sizes.sum()
        self._ends, self._first = ends, np.concatenate([[0.0], ends[:-1]])

    def __len__(self) -> int:
        return int(self._sizes.sum())

    def __getitem__(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        which = np.minimum(np.searchsorted(self._ends, places, side="right"), len(self._texts) - 1)
        drawn = np.empty(len(places), np.int64)
        for number in np.unique(which):
            here, size = which == number, self._sizes[number]
            inside = (places[here] - self._first[number]) / (self._ends[number] - self._first[number])
            drawn[here] = self._texts[number][np.clip(inside * size, 0, size - 1).astype(np.int64)]
        return drawn


class MixedRows:
    """A source of the rows of several sources, numbered one source after another.

    Args:
        sources: the rows of each.
        shares: the share of each in any stretch of the order.
    """

    def __init__(self, sources: Sequence[RowSource], shares: Sequence[float]) -> None:
        self._sources = tuple(sources)
        self.order = Mixing(tuple(map(len, sources)), tuple(shares))
        self._shared = _shared(self._sources, shares)

    def __len__(self) -> int:
        return sum(self.order.sizes)

    def fetch(self, indices: NDArray[np.int64]) -> Rows:
        """Return the rows with some numbers, in that order."""
        indices, first = np.asarray(indices, np.int64), self.order.first
        which = np.searchsorted(first, indices, side="right") - 1
        return replace(gathered(self._sources, which, indices - first[which]), **self._shared)

    def passes(self, steps: int, batch_size: int) -> list[float]:
        """Return how often each source is read in some steps, in the order of the sources."""
        return self.order.passes(steps * batch_size)


class MixedStreams:
    """A source of the streams of several sources side by side, as many of each as its share asks for.

    A source that is read to its end begins anew, until the source with the longest streams is read once.

    Args:
        sources: the streams of each.
        shares: the share of each, from which tokens are drawn at random.
    """

    def __init__(self, sources: Sequence[StreamSource], shares: Sequence[float]) -> None:
        self._sources = tuple(sources)
        counts = np.array([source.streams for source in sources], np.int64)
        self.streams = int(counts.sum())
        self._times = np.array([len(source) for source in sources], np.int64) // counts
        self._owners = np.repeat(np.arange(len(counts)), counts)
        self._own, self._counts = np.concatenate([np.arange(count) for count in counts]), counts
        self._shared = _shared(self._sources, shares)

    def __len__(self) -> int:
        return int(self._times.max()) * self.streams

    def fetch(self, indices: NDArray[np.int64]) -> Rows:
        """Return the rows at some indices, in that order; those with which a source begins are fresh."""
        times, streams = np.divmod(np.asarray(indices, np.int64), self.streams)
        which = self._owners[streams]
        rows = times % self._times[which] * self._counts[which] + self._own[streams]
        return replace(gathered(self._sources, which, rows), **self._shared)

    def passes(self, steps: int, batch_size: int) -> list[float]:
        """Return how often each source is read in some steps, in the order of the sources."""
        return [steps / int(times) for times in self._times]


@dataclass(frozen=True)
class RowsBySource:
    """The held-out rows of several texts, which are measured one after another.

    Args:
        sources: the rows of each text by its name; for a mixture of objectives, those of each part.
        shares: the share of each text in training, which add up to 1.
    """

    sources: Mapping[str, RowSource | PartedRows]
    shares: Mapping[str, float]

    def __len__(self) -> int:
        """Return the number of all rows."""
        return sum(map(len, self.sources.values()))


HeldOut = RowSource | PartedRows | RowsBySource
"""The held-out rows of a run."""


def _shared(sources: Sequence[RowSource], shares: Sequence[float]) -> dict[str, Any]:
    """Return what the rows of all sources have in common: the text that tokens are drawn from, and how frequent each is."""
    rows = [source.fetch(np.empty(0, np.int64)) for source in sources]
    texts, frequencies = [each.text for each in rows], [each.frequencies for each in rows]
    weights = np.array(shares) / sum(shares)
    known = all(each is not None for each in frequencies)
    return {
        "text": MixedText([text for text in texts if text is not None], shares) if all(t is not None for t in texts) else None,
        "frequencies": np.tensordot(weights, np.stack([f for f in frequencies if f is not None]), 1) if known else None,
    }


def gathered(sources: Sequence[RowSource], which: NDArray[np.int64], rows: NDArray[np.int64]) -> Rows:
    """Return rows of several sources.

    Args:
        sources: of rows of one kind.
        which: [rows] the source of each row.
        rows: [rows] its number in the source.
    """
    numbers = np.unique(which)
    places = [np.flatnonzero(which == number) for number in numbers]
    fetched = [sources[number].fetch(rows[here]) for number, here in zip(numbers, places, strict=True)]
    return fetched[0] if len(fetched) == 1 else _woven(fetched, places, len(which))


def _woven(parts: Sequence[Rows], places: Sequence[NDArray[np.int64]], count: int) -> Rows:
    """Put rows of one kind into one order.

    Args:
        parts: the rows.
        places: the place of each row of each part.
        count: the number of all rows.
    """
    values: dict[str, Any] = {}
    for field in fields(parts[0]):
        own = [getattr(part, field.name) for part in parts]
        if field.name in _OF_ALL_ROWS or any(value is None for value in own):
            continue
        if isinstance(own[0], Rows):
            values[field.name] = _woven(own, places, count)
            continue
        whole = np.empty((count, *own[0].shape[1:]), own[0].dtype)
        for value, here in zip(own, places, strict=True):
            whole[here] = value
        values[field.name] = whole
    return type(parts[0])(**values)
