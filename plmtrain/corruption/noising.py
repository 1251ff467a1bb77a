"""Rows corrupted by any of BART's noises, and what happened to each token (Lewis et al. 2020, section 2.2).

The noises are applied in the order of the authors' code: sentences are permuted, spans and tokens are masked or deleted, masks
are inserted, documents are rotated. The tokens that frame a row and those that end documents stay unchanged and in place under
every noise; the target of a row is the row itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from plmtrain.corruption.framed_rows import FramedRows
from plmtrain.corruption.grouping import Indices, ranges, share_of
from plmtrain.corruption.infilling import choose_infilled_spans
from plmtrain.corruption.masked_rows import CACHED
from plmtrain.corruption.masking import choose_tokens
from plmtrain.corruption.sentence_permutation import permute_sentences, rotation
from plmtrain.keyed_random import Bits, Keys, as_integers, as_uniform, orders, several_row_bits, spread, spread_at
from plmtrain.settings.noising import NoisingSettings
from plmtrain.text.vocabulary import Vocabulary

HIDDEN, DELETED, MOVED, FIRST = (np.uint8(1 << bit) for bit in range(4))
"""Marks of a token: masked, deleted, in a sentence that moved; and whether a sentence begins with it."""

INSERTED = -1
"""The origin of a mask that hides no word."""

_STREAMS = ("sentences", "order", "lengths", "spans", "last", "mask", "delete", "insert", "rotate", "random", "token")


@dataclass(frozen=True, kw_only=True)
class NoisedRows:
    """Framed rows that were corrupted.

    Args:
        ids: [rows, longest] the model's input.
        real: [rows, longest] which tokens are not padding; None without padding.
        origins: [rows, longest] int32, a token's place in the original row. Masks have ``INSERTED`` minus the number of words
            that they hide; padding has an arbitrary origin.
        marks: [rows, length] for each token of the original row: what happened to it, in bits.
        documents: [rows, longest] the document of each token; None where rows are not divided.
    """

    ids: NDArray[np.int64]
    real: NDArray[np.bool_] | None
    origins: NDArray[np.int32]
    marks: NDArray[np.uint8]
    documents: NDArray[np.int64] | None


class Noiser:
    """Corrupts framed rows.

    Args:
        settings: which noises, and how much of each.
        vocabulary: of the rows' tokens.
        longest: insertions make no row longer than this; a row that is already longer keeps its length.
    """

    def __init__(self, settings: NoisingSettings, vocabulary: Vocabulary, longest: int) -> None:
        self.settings = settings
        self.vocabulary = vocabulary
        self.longest = longest
        self._mask = vocabulary["mask"]
        self._fixed = vocabulary.is_special.copy()
        if "unk" in vocabulary.roles:  # an unknown token is text
            self._fixed[vocabulary["unk"]] = False

    def __call__(self, rows: FramedRows, keys: Keys) -> NoisedRows:
        """Corrupt rows, as a function of each row and its key alone; the input rows are not changed."""
        random = several_row_bits([f"noise.{stream}" for stream in _STREAMS], keys)  # [streams, rows]
        count, width = rows.ids.shape
        rows_at_a_time = max(1, CACHED // width)
        marks = np.zeros(rows.ids.shape, np.uint8)
        parts = []
        for first in range(0, count, rows_at_a_time):
            part = slice(first, first + rows_at_a_time)
            parts.append(self._some_rows(rows, part, dict(zip(_STREAMS, random[:, part], strict=True)), marks[part]))
        lengths, origins, ids = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        return self._assembled(rows, lengths, origins, ids, marks)

    def _some_rows(
        self, rows: FramedRows, part: slice, random: dict[str, Bits], marks: NDArray[np.uint8]
    ) -> tuple[Indices, Indices, Indices]:
        """Corrupt as many rows as fit into a core's cache: return their new lengths, and their origins and ids, concatenated."""
        chosen, ids = self.settings, rows.ids[part]
        places = _Places(self._fixed.take(ids), marks.reshape(-1), None if rows.real is None else ~rows.real[part])
        if chosen.permute:
            places.permute(None if rows.sentence_starts is None else rows.sentence_starts[part], chosen, random)
        empty = np.zeros(len(ids), np.int64)
        if chosen.infill:
            empty = places.infill(rows.word_starts[part], chosen, random)
        if chosen.mask:
            places.mask(chosen.mask, random["mask"])
        if chosen.delete:
            places.delete(chosen.delete, random["delete"])
        origins, lengths = places.left()
        inserted = empty + share_of(lengths + empty, chosen.insert)
        inserted = np.minimum(inserted, np.maximum(0, self.longest - lengths))
        if inserted.any():
            origins, lengths = _inserted(origins, lengths, inserted, random["insert"])
        row = np.repeat(np.arange(len(ids)), lengths)
        column = ranges(np.zeros_like(lengths), lengths) if chosen.rotate or chosen.random_share else row
        if chosen.rotate:
            still = (origins >= 0) & places.fixed.reshape(-1).take(origins, mode="clip")
            origins = origins.take(rotation(still, row, column, chosen.rotate, random["rotate"]))

        masks = np.flatnonzero(origins < 0)
        read = ids.reshape(-1).take(origins, mode="clip")
        read[masks] = self._shown(random, row.take(masks), column.take(masks))
        hidden = origins.take(masks)
        origins = origins - row * ids.shape[1]
        origins[masks] = hidden
        return lengths, origins, read

    def _shown(self, random: dict[str, Bits], row: Indices, column: Indices) -> Indices | int:
        """Return what replaces the masked tokens: the mask, or random tokens."""
        if not self.settings.random_share:
            return self._mask
        swapped = as_uniform(spread_at(random["random"].take(row), column)) < self.settings.random_share
        ordinary = self.vocabulary.ordinary_ids
        chosen = as_integers(spread_at(random["token"].take(row), column), len(ordinary))
        return np.where(swapped, ordinary.take(chosen), self._mask)

    def _assembled(
        self, rows: FramedRows, lengths: Indices, origins: Indices, ids: Indices, marks: NDArray[np.uint8]
    ) -> NoisedRows:
        """Assemble rows of different lengths into padded arrays."""
        count, longest = len(lengths), int(lengths.max(initial=0))
        ragged = count > 0 and int(lengths.min()) < longest
        real = np.arange(longest) < lengths[:, None] if ragged else None

        def side_by_side(values: Indices, padding: int, kind: type[np.signedinteger]) -> NDArray[np.signedinteger]:
            if real is None:
                return values.reshape(count, longest).astype(kind, copy=False)
            grid = np.full((count, longest), padding, kind)
            grid[real] = values
            return grid

        documents = None
        if rows.documents is not None:
            # A mask belongs to the document of the token that follows it; the token that closes a row follows all others.
            places = np.where(origins >= 0, np.arange(len(origins)), len(origins))
            following = np.minimum.accumulate(places[::-1])[::-1]
            row = np.repeat(np.arange(count), lengths)
            documents = side_by_side(rows.documents[row, origins.take(following)], 0, np.int64)
            if real is not None:
                documents[~real] = np.repeat(rows.documents.max(axis=1, initial=0), longest - lengths)
        return NoisedRows(
            ids=side_by_side(ids, self.vocabulary.padding, np.int64),
            real=real,
            origins=side_by_side(origins, INSERTED, np.int32),
            marks=marks,
            documents=documents,
        )


class _Places:
    """Some rows while they are corrupted: the contents of each place.

    Args:
        fixed: [rows, length] the tokens that stay unchanged and in place.
        marks: [rows * length] what happens to each token; written to.
        padding: [rows, length] which places are padding; None without padding.
    """

    def __init__(self, fixed: NDArray[np.bool_], marks: NDArray[np.uint8], padding: NDArray[np.bool_] | None) -> None:
        self.fixed = fixed
        self._marks = marks
        self._order: Indices | None = None  # the token at each place before any was masked; None without a permutation
        self._stands = np.arange(fixed.size)  # that token, or a mask
        self._gone = np.zeros(fixed.size, np.bool_) if padding is None else padding.reshape(-1)

    def permute(self, sentence_starts: NDArray[np.bool_] | None, chosen: NoisingSettings, random: dict[str, Bits]) -> None:
        starts = np.zeros_like(self.fixed) if sentence_starts is None else sentence_starts
        permuted = permute_sentences(starts, self.fixed, chosen.permute, random["sentences"], random["order"])
        np.multiply(permuted.moved, MOVED, out=self._marks)
        self._marks[permuted.first] |= FIRST
        self._order, self._stands = permuted.order, permuted.order.copy()

    def infill(self, word_starts: NDArray[np.bool_], chosen: NoisingSettings, random: dict[str, Bits]) -> Indices:
        """Mask spans, and return how many spans of each row are empty."""
        if self._order is not None:
            word_starts = word_starts.reshape(-1).take(self._order).reshape(word_starts.shape)
        numbers = (random["lengths"], random["spans"], random["last"])
        spans = choose_infilled_spans(word_starts, self.fixed, chosen.infill, chosen.span_mean, *numbers)
        inside = ranges(spans.first, spans.end - spans.first)
        self._mark(inside, HIDDEN)
        self._gone[inside] = True
        self._gone[spans.first] = False
        self._stands[spans.first] = INSERTED - spans.words
        return spans.empty

    def mask(self, share: float, random: Bits) -> None:
        masked = self._tokens(share, random)
        self._mark(masked, HIDDEN)
        self._stands[masked] = INSERTED - 1

    def delete(self, share: float, random: Bits) -> None:
        deleted = self._tokens(share, random)
        self._mark(deleted, DELETED)
        self._gone[deleted] = True

    def left(self) -> tuple[Indices, Indices]:
        """Return the remaining contents of the rows, concatenated, and how many places each row has."""
        kept = ~self._gone
        return self._stands.take(np.flatnonzero(kept)), np.sum(kept.reshape(self.fixed.shape), axis=1)

    def _tokens(self, share: float, random: Bits) -> Indices:
        """Choose places of a share of each row's tokens, among those that are still there."""
        taken = self.fixed | (self._gone | (self._stands < 0)).reshape(self.fixed.shape)
        return choose_tokens(orders(random, self.fixed.shape[1]), taken, share_of(np.sum(~self.fixed, axis=1), share))

    def _mark(self, places: Indices, mark: np.uint8) -> None:
        self._marks[places if self._order is None else self._order.take(places)] |= mark


def _inserted(origins: Indices, lengths: Indices, counts: Indices, random: Bits) -> tuple[Indices, Indices]:
    """Insert masks into rows at any places but the first and the last of a row, each set of places being equally likely.

    Args:
        origins: [tokens] of the concatenated rows.
        lengths, counts, random: [rows] tokens of each, masks to insert, and random numbers.

    Returns:
        The origins with ``INSERTED`` between them, and the new lengths.
    """
    most = int(counts.max())
    numbers = spread(random, most)
    never = int(lengths.max()) + most
    slots = np.full((len(counts), most), never)
    for turn in range(most):
        # Each mask goes into any gap between the tokens that are already there; those after it move on.
        slot = np.where(turn < counts, as_integers(numbers[:, turn], lengths - 1 + turn) + 1, never)
        slots[:, :turn] += slots[:, :turn] >= slot[:, None]
        slots[:, turn] = slot
    lengths = lengths + counts
    slots += (np.cumsum(lengths) - lengths)[:, None]
    kept = np.ones(int(lengths.sum()), np.bool_)
    kept[slots[np.arange(most) < counts[:, None]]] = False
    inserted = np.full(len(kept), INSERTED)
    inserted[kept] = origins
    return inserted, lengths
