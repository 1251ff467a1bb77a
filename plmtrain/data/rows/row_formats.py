"""Positions of special tokens, texts and padding in a row: the only module that puts special tokens around text.

``RowFormat`` is the order of the pieces of a row, which ``plmtrain.families`` defines for each family of models. ``Places``
computes their positions in rows of given texts, and moves values that belong to the tokens of texts to these positions.
Objectives and tasks use both through ``framing``, ``side_framing``, ``stream_segments``, and ``formatted`` below.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plmtrain.data.rows.rows import Rows, beside
from plmtrain.families import MODEL_FAMILIES, Piece
from plmtrain.text.spelling import MOST_BYTES, Bytes
from plmtrain.text.vocabulary import Vocabulary

MULTIPLE = 8
"""Rows are padded to a multiple of this: that makes few shapes, for which fast kernels are efficient."""


@dataclass(frozen=True)
class RowFormat:
    """A family's format of one text (``[CLS] A [SEP]``) or of two (``[CLS] A [SEP] B [SEP]``).

    Args:
        pieces: the pieces in order: the role of a special token, or the number of a text; each with its segment.
        pads_left: whether padding comes before a row, as in XLNet.
        padding_segment: the segment of padding.
    """

    pieces: tuple[Piece, ...]
    pads_left: bool = False
    padding_segment: int = 0

    @classmethod
    def of(cls, family: str, texts: int) -> RowFormat:
        """Return the format of a family of models.

        Args:
            family: ``ModelSettings.family``.
            texts: the number of texts in a row, 1 or 2; 0 for running text, around which nothing stands.
        """
        row = MODEL_FAMILIES[family]
        return cls(row.tokens.pieces(texts), row.tokens.padding_side == "left", row.padding_segment)

    @classmethod
    def written(cls, family: str) -> RowFormat:
        """Return the format of one text as the decoders of a family of models write it: without the special tokens before it,
        unless they write these as well, and padded after it."""
        one = cls.of(family, 1)
        return cls(one.pieces if MODEL_FAMILIES[family].writes_frame else one.pieces[one.opening :])

    @cached_property
    def roles(self) -> tuple[str, ...]:
        """The role of each special token, in order."""
        return tuple(piece for piece, _ in self.pieces if isinstance(piece, str))

    @cached_property
    def framing(self) -> int:
        """The number of special tokens in a row."""
        return len(self.roles)

    @cached_property
    def opening(self) -> int:
        """The number of special tokens before the first text."""
        return [piece for piece, _ in self.pieces].index(0)

    def lacking(self, alone: NDArray[np.bool_], one: RowFormat) -> NDArray[np.bool_]:
        """Return which pieces of the format of two texts are absent in rows that have one text only.  # [rows, pieces]

        Args:
            alone: [rows] which rows have the first text only.
            one: the format of these rows, which is the beginning of this format.
        """
        return alone[:, None] & (np.arange(len(self.pieces)) >= len(one.pieces))

    @cached_property
    def runs(self) -> tuple[str | int | None, ...]:
        """The pieces of a row from its first place to its last, with None for padding."""
        pieces = tuple(piece for piece, _ in self.pieces)
        return (None, *pieces) if self.pads_left else (*pieces, None)


@dataclass(eq=False)
class Places:
    """The places of the pieces of some rows. Padding comes after the pieces, or before them if the format says so.

    Args:
        row_format: the format of the rows.
        texts: [rows] for each text, its number of tokens.
        length: the length of each row with its padding.
        width: the length of the rows of the arrays that texts are taken from.
        begins: [rows] for each text, its first index in its row of these arrays; 0 if not given.
        lacking: [rows, pieces] which pieces a row does not have; None if each row has all pieces.
    """

    row_format: RowFormat
    texts: Sequence[NDArray[np.int64]]
    length: int
    width: int
    begins: Sequence[NDArray[np.int64]] = ()
    lacking: NDArray[np.bool_] | None = None

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """The number of tokens in each row.  # [rows]"""
        lengths: NDArray[np.int64] = self._piece_sizes.sum(axis=1)
        return lengths

    @property
    def full(self) -> bool:
        """Whether no row has padding."""
        return self.length == sum(self._alike) if self._alike is not None else bool((self.lengths == self.length).all())

    @cached_property
    def real(self) -> NDArray[np.bool_]:
        """Which places are not padding.  # [rows, length]"""
        place = np.arange(self.length)
        return place >= self.length - self.lengths[:, None] if self.row_format.pads_left else place < self.lengths[:, None]

    @property
    def segments(self) -> NDArray[np.int64]:
        """The segment of each place.  # [rows, length]"""
        padding, kinds = [self.row_format.padding_segment], [segment for _, segment in self.row_format.pieces]
        each = np.array(padding + kinds if self.row_format.pads_left else kinds + padding)
        return self._spread(np.broadcast_to(each, self._run_sizes.shape))

    def ids(self, tokens: NDArray[np.int64], vocabulary: Vocabulary) -> NDArray[np.int64]:
        """Return the token ids of the rows, [rows, length].

        Args:
            tokens: [rows, width] the token ids of the texts.
            vocabulary: the ids of the special tokens.
        """
        return self.filled(tokens, [vocabulary[role] for role in self.row_format.roles], vocabulary.padding)

    def filled(self, values: NDArray[Any], special: Sequence[Any], padding: Any) -> NDArray[Any]:
        """Move values that belong to the tokens of texts to the places of these tokens.

        Args:
            values: [rows, width] the value of each token of the texts.
            special: the value of each special token of the format, in order: one for all rows, or [rows].
            padding: the value of padding: one for all rows, or [rows].

        Returns:
            [rows, length].
        """
        given = iter(special)
        if self._alike is not None:  # block by block, which takes a quarter of the time
            made = np.empty((len(values), self.length), values.dtype)
            for run, here, there in self._blocks:
                if there is not None:
                    made[:, here] = values[:, there]
                else:
                    other = padding if run is None else next(given)
                    made[:, here] = other[:, None] if isinstance(other, np.ndarray) else other
            return made
        of_runs = np.zeros(self._run_sizes.shape, values.dtype)
        for number, run in enumerate(self.row_format.runs):
            if not isinstance(run, int):
                of_runs[:, number] = padding if run is None else next(given)
        others = self._spread(of_runs)
        if not values.size:
            return others
        return np.where(self._is_text, values.reshape(-1).take(self._source, mode="clip"), others)

    @cached_property
    def _alike(self) -> list[int] | None:
        """The sizes of the pieces of each row if all rows have the same layout, else None."""
        if self.lacking is not None or len(self.texts[0]) == 0:
            return None
        for each in (*self.texts, *self.begins):
            if np.count_nonzero(each != each[0]):
                return None
        return [int(self.texts[piece][0]) if isinstance(piece, int) else 1 for piece, _ in self.row_format.pieces]

    @cached_property
    def _blocks(self) -> list[tuple[str | int | None, slice, slice | None]]:
        """Each run of rows that have the same layout: its places, and the place of its text in the arrays."""
        assert self._alike is not None
        padding = [self.length - sum(self._alike)]
        assert padding[0] >= 0, "rows do not fit"
        sizes = padding + self._alike if self.row_format.pads_left else self._alike + padding
        blocks: list[tuple[str | int | None, slice, slice | None]] = []
        place = 0
        for run, size in zip(self.row_format.runs, sizes, strict=True):
            begin = int(self.begins[run][0]) if self.begins and isinstance(run, int) else 0
            there = slice(begin, begin + size) if isinstance(run, int) else None
            if size:
                blocks.append((run, slice(place, place + size), there))
            place += size
        return blocks

    @cached_property
    def _piece_sizes(self) -> NDArray[np.int64]:
        """The number of tokens in each piece of each row.  # [rows, pieces]"""
        sizes = np.ones((len(self.texts[0]), len(self.row_format.pieces)), np.int64)
        for number, (piece, _) in enumerate(self.row_format.pieces):
            if isinstance(piece, int):
                sizes[:, number] = self.texts[piece]
        if self.lacking is not None:
            sizes[self.lacking] = 0
        return sizes

    @cached_property
    def _run_sizes(self) -> NDArray[np.int64]:
        """The number of places that each run of each row takes.  # [rows, runs]"""
        padding = (self.length - self.lengths)[:, None]
        assert padding.min(initial=0) >= 0, "rows do not fit"
        both = [padding, self._piece_sizes] if self.row_format.pads_left else [self._piece_sizes, padding]
        return np.concatenate(both, axis=1)

    def _spread(self, of_runs: NDArray[Any]) -> NDArray[Any]:
        """Give each place the value of its run.  # [rows, runs] -> [rows, length]"""
        return np.repeat(of_runs.reshape(-1), self._run_sizes.reshape(-1)).reshape(len(of_runs), self.length)

    @cached_property
    def _is_text(self) -> NDArray[np.bool_]:
        is_text = np.array([isinstance(run, int) for run in self.row_format.runs])
        return self._spread(np.broadcast_to(is_text, self._run_sizes.shape))

    @cached_property
    def _source(self) -> NDArray[np.int64]:
        """The index of the token of each place in rows * width; any value at places without text.  # [rows, length]"""
        sizes = self._run_sizes
        moved = (sizes.reshape(-1) - np.cumsum(sizes)).reshape(sizes.shape)
        row = np.arange(len(sizes)) * self.width
        for number, run in enumerate(self.row_format.runs):
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
        spellings: [rows, length, bytes] of unknown words, as in ``Rows``; None where tokens are not whole words.
    """

    ids: NDArray[np.int64]
    segments: NDArray[np.int64]
    real: NDArray[np.bool_]
    spellings: Bytes | None = None


def placed(rows: Rows, row_format: RowFormat, limit: int) -> Places:
    """Return the places of texts or pairs in rows that are padded to the longest of the batch.

    Args:
        rows: the texts; their ``others`` are the second texts.
        row_format: the format.
        limit: the greatest length to which padding may extend a row.
    """
    texts, begins, width = [rows.lengths], [], rows.tokens.shape[1]
    if rows.others is not None:
        texts = [rows.lengths, rows.others.lengths]
        begins = [np.zeros(len(rows), np.int64), np.full(len(rows), width)]
        width += rows.others.tokens.shape[1]
    longest = int(np.sum(texts, axis=0).max(initial=1 - row_format.framing)) + row_format.framing
    length = max(longest, min(limit, -(-longest // MULTIPLE) * MULTIPLE))
    return Places(row_format, texts, length, width, begins)


def formatted(rows: Rows, row_format: RowFormat, vocabulary: Vocabulary, limit: int) -> FormattedRows:
    """Lay out texts or pairs, padded to the longest of the batch.

    Args:
        rows: the texts; their ``others`` are the second texts.
        row_format: the format.
        vocabulary: the ids of the special tokens.
        limit: the greatest length to which padding may extend a row.
    """
    places = placed(rows, row_format, limit)
    tokens = beside(rows.tokens, None if rows.others is None else rows.others.tokens)
    spellings = spellings_of(rows, places, tokens.shape)
    return FormattedRows(ids=places.ids(tokens, vocabulary), segments=places.segments, real=places.real, spellings=spellings)


def spellings_of(rows: Rows, places: Places, shape: tuple[int, ...]) -> Bytes | None:
    """Move the spellings of unknown words to the places of these words.

    Args:
        rows: the texts.
        places: where their tokens go.
        shape: [rows, width] of the tokens of the texts, those of second texts included.
    """
    parts = [each.spellings for each in (rows, rows.others) if each is not None]
    given = [part for part in parts if part is not None]
    if not given:
        return None
    flat = np.concatenate(given, axis=1).reshape(-1, MOST_BYTES)
    source = places.filled(np.arange(len(flat)).reshape(shape), [-1] * places.row_format.framing, -1)
    return np.where(source[..., None] >= 0, flat[source], 0).astype(np.uint8)
