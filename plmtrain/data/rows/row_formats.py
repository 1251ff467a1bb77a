"""Where special tokens, texts and padding stand in a row: the one place that lays special tokens around text.

``RowFormat`` says in which order the parts of a row stand, as ``plmtrain.families`` has it for a family of models. ``Places``
says where they stand in rows of certain texts, and moves what belongs to a text's tokens to their places. What a pretraining
objective or a task makes of that is in ``framing``, ``side_framing``, ``stream_segments``, and in ``formatted`` below.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plmtrain.data.rows.rows import Rows
from plmtrain.families import MODEL_FAMILIES, Part
from plmtrain.text.vocabulary import Vocabulary

MULTIPLE = 8
"""Rows are as long as a multiple of this: few shapes, and those that fast kernels like."""


@dataclass(frozen=True)
class RowFormat:
    """How a family lays out one text (``[CLS] A [SEP]``) or two (``[CLS] A [SEP] B [SEP]``).

    Args:
        parts: what stands where, in order: the role of a special token, or the number of a text; each with its segment.
        pads_left: whether padding stands before a row, as in XLNet.
        padding_segment: of padding.
    """

    parts: tuple[Part, ...]
    pads_left: bool = False
    padding_segment: int = 0

    @classmethod
    def of(cls, family: str, texts: int) -> RowFormat:
        """Return the format of a family of models.

        Args:
            family: ``ModelSettings.family``.
            texts: how many there are in a row, 1 or 2.
        """
        row = MODEL_FAMILIES[family]
        return cls(row.tokens.parts(texts), row.tokens.padding_side == "left", row.padding_segment)

    @cached_property
    def roles(self) -> tuple[str, ...]:
        """The role of each special token, in order."""
        return tuple(part for part, _ in self.parts if isinstance(part, str))

    @cached_property
    def framing(self) -> int:
        """Special tokens in a row."""
        return len(self.roles)

    @cached_property
    def opening(self) -> int:
        """Special tokens before the first text."""
        return [part for part, _ in self.parts].index(0)

    def lacking(self, alone: NDArray[np.bool_], one: RowFormat) -> NDArray[np.bool_]:
        """Return which parts of a pair rows lack that are one text alone.  # [rows, parts]

        Args:
            alone: [rows] which rows have the first text alone.
            one: the format of these rows, with which that of two begins.
        """
        return alone[:, None] & (np.arange(len(self.parts)) >= len(one.parts))

    @cached_property
    def runs(self) -> tuple[str | int | None, ...]:
        """What stands in a row from its first place to its last: the parts, and None for padding."""
        parts = tuple(part for part, _ in self.parts)
        return (None, *parts) if self.pads_left else (*parts, None)


@dataclass(eq=False)
class Places:
    """Where the parts of some rows stand. Padding stands behind them, or before them where the format says so.

    Args:
        layout: which parts there are.
        texts: [rows] for each text, how many tokens it has.
        length: how long each row becomes by padding.
        width: how long the rows of the arrays are that texts are taken from.
        begins: [rows] for each text, where it begins in its row of these arrays; at 0 if not given.
        lacking: [rows, parts] which parts a row does not have; None where each has all.
    """

    layout: RowFormat
    texts: Sequence[NDArray[np.int64]]
    length: int
    width: int
    begins: Sequence[NDArray[np.int64]] = ()
    lacking: NDArray[np.bool_] | None = None

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """How many tokens each row has.  # [rows]"""
        lengths: NDArray[np.int64] = self._part_sizes.sum(axis=1)
        return lengths

    @property
    def full(self) -> bool:
        """Whether no row has padding."""
        return self.length == sum(self._alike) if self._alike is not None else bool((self.lengths == self.length).all())

    @cached_property
    def real(self) -> NDArray[np.bool_]:
        """Which places are not padding.  # [rows, length]"""
        place = np.arange(self.length)
        return place >= self.length - self.lengths[:, None] if self.layout.pads_left else place < self.lengths[:, None]

    @property
    def segments(self) -> NDArray[np.int64]:
        """The segment of each place.  # [rows, length]"""
        padding, kinds = [self.layout.padding_segment], [segment for _, segment in self.layout.parts]
        each = np.array(padding + kinds if self.layout.pads_left else kinds + padding)
        return self._spread(np.broadcast_to(each, self._run_sizes.shape))

    def ids(self, tokens: NDArray[np.int64], vocabulary: Vocabulary) -> NDArray[np.int64]:
        """Return the token ids of the rows, [rows, length].

        Args:
            tokens: [rows, width] of the texts.
            vocabulary: for the special tokens.
        """
        return self.filled(tokens, [vocabulary[role] for role in self.layout.roles], vocabulary.padding)

    def filled(self, values: NDArray[Any], special: Sequence[Any], padding: Any) -> NDArray[Any]:
        """Move what belongs to the tokens of texts to their places.

        Args:
            values: [rows, width] for each token of the texts.
            special: for each special token of the format, in order, its value: one for all rows, or [rows].
            padding: the value of padding: one for all rows, or [rows].

        Returns:
            [rows, length].
        """
        given = iter(special)
        if self._alike is not None:  # block by block, which takes a fourth of the time
            made = np.empty((len(values), self.length), values.dtype)
            for run, here, there in self._blocks:
                if there is not None:
                    made[:, here] = values[:, there]
                else:
                    other = padding if run is None else next(given)
                    made[:, here] = other[:, None] if isinstance(other, np.ndarray) else other
            return made
        of_runs = np.zeros(self._run_sizes.shape, values.dtype)
        for number, run in enumerate(self.layout.runs):
            if not isinstance(run, int):
                of_runs[:, number] = padding if run is None else next(given)
        others = self._spread(of_runs)
        if not values.size:
            return others
        return np.where(self._is_text, values.reshape(-1).take(self._source, mode="clip"), others)

    @cached_property
    def _alike(self) -> list[int] | None:
        """The sizes of the parts of each row where all rows are laid out alike, else None."""
        if self.lacking is not None or len(self.texts[0]) == 0:
            return None
        for each in (*self.texts, *self.begins):
            if np.count_nonzero(each != each[0]):
                return None
        return [int(self.texts[part][0]) if isinstance(part, int) else 1 for part, _ in self.layout.parts]

    @cached_property
    def _blocks(self) -> list[tuple[str | int | None, slice, slice | None]]:
        """Each run of rows that are laid out alike: its places, and where its text is in the arrays."""
        assert self._alike is not None
        padding = [self.length - sum(self._alike)]
        assert padding[0] >= 0, "rows do not fit"
        sizes = padding + self._alike if self.layout.pads_left else self._alike + padding
        blocks: list[tuple[str | int | None, slice, slice | None]] = []
        place = 0
        for run, size in zip(self.layout.runs, sizes, strict=True):
            begin = int(self.begins[run][0]) if self.begins and isinstance(run, int) else 0
            there = slice(begin, begin + size) if isinstance(run, int) else None
            if size:
                blocks.append((run, slice(place, place + size), there))
            place += size
        return blocks

    @cached_property
    def _part_sizes(self) -> NDArray[np.int64]:
        """How many tokens each part of each row has.  # [rows, parts]"""
        sizes = np.ones((len(self.texts[0]), len(self.layout.parts)), np.int64)
        for number, (part, _) in enumerate(self.layout.parts):
            if isinstance(part, int):
                sizes[:, number] = self.texts[part]
        if self.lacking is not None:
            sizes[self.lacking] = 0
        return sizes

    @cached_property
    def _run_sizes(self) -> NDArray[np.int64]:
        """How many places each run of each row takes.  # [rows, runs]"""
        padding = (self.length - self.lengths)[:, None]
        assert padding.min(initial=0) >= 0, "rows do not fit"
        both = [padding, self._part_sizes] if self.layout.pads_left else [self._part_sizes, padding]
        return np.concatenate(both, axis=1)

    def _spread(self, of_runs: NDArray[Any]) -> NDArray[Any]:
        """Give each place what its run has.  # [rows, runs] -> [rows, length]"""
        return np.repeat(of_runs.reshape(-1), self._run_sizes.reshape(-1)).reshape(len(of_runs), self.length)

    @cached_property
    def _is_text(self) -> NDArray[np.bool_]:
        is_text = np.array([isinstance(run, int) for run in self.layout.runs])
        return self._spread(np.broadcast_to(is_text, self._run_sizes.shape))

    @cached_property
    def _source(self) -> NDArray[np.int64]:
        """Where the token of each place is, as an index into rows * width; anywhere where no text is.  # [rows, length]"""
        sizes = self._run_sizes
        moved = (sizes.reshape(-1) - np.cumsum(sizes)).reshape(sizes.shape)
        row = np.arange(len(sizes)) * self.width
        for number, run in enumerate(self.layout.runs):
            if isinstance(run, int):
                moved[:, number] += row + self.begins[run] if self.begins else row
        source = self._spread(moved)
        source += np.arange(source.size).reshape(source.shape)
        return source


@dataclass(frozen=True, kw_only=True)
class FormattedRows:
    """Rows as a model reads them.

    Args:
        ids: [rows, length] token ids.
        segments: [rows, length] segment ids.
        real: [rows, length] which tokens are not padding.
    """

    ids: NDArray[np.int64]
    segments: NDArray[np.int64]
    real: NDArray[np.bool_]


def formatted(rows: Rows, layout: RowFormat, vocabulary: Vocabulary, limit: int) -> FormattedRows:
    """Lay out texts or pairs, padded to the longest of the batch.

    Args:
        rows: the texts; ``others`` of them are the second texts.
        layout: the format.
        vocabulary: for the special tokens.
        limit: how long a row may become by padding.
    """
    tokens, texts, begins = rows.tokens, [rows.lengths], []
    if rows.others is not None:
        tokens = np.concatenate([tokens, rows.others.tokens], axis=1)
        texts = [rows.lengths, rows.others.lengths]
        begins = [np.zeros(len(rows), np.int64), np.full(len(rows), rows.tokens.shape[1])]
    longest = int(np.sum(texts, axis=0).max(initial=1 - layout.framing)) + layout.framing
    length = max(longest, min(limit, -(-longest // MULTIPLE) * MULTIPLE))
    places = Places(layout, texts, length, tokens.shape[1], begins)
    return FormattedRows(ids=places.ids(tokens, vocabulary), segments=places.segments, real=places.real)
