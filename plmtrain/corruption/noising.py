"""Rows corrupted in any of BART's ways, and what became of each token (Lewis et al. 2020, section 2.2).

The noises act in the order of the authors' code: sentences change places, spans and tokens are hidden or left out, masks are
inserted, documents are rotated. The tokens that frame a row and those that end documents stay what and where they are under every
noise; the target of a row is the row itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from plmtrain.corruption.grouping import Indices, ranges, share_of
from plmtrain.corruption.infilling import choose_infilled_spans
from plmtrain.corruption.masked_rows import CACHED, FramedRows
from plmtrain.corruption.masking import choose_tokens
from plmtrain.corruption.sentence_permutation import permute_sentences, rotation
from plmtrain.keyed_random import Bits, Keys, as_integers, as_uniform, orders, several_row_bits, spread, spread_at
from plmtrain.settings.noising import NoisingSettings
from plmtrain.text.vocabulary import Vocabulary

HIDDEN, DELETED, MOVED, FIRST = (np.uint8(1 << bit) for bit in range(4))
"""What became of a token: hidden behind a mask, left out, of a sentence that moved; and whether a sentence begins with it."""

INSERTED = -1
"""The origin of a mask that hides nothing."""

_STREAMS = ("sentences", "order", "lengths", "spans", "last", "mask", "delete", "insert", "rotate", "random", "token")


@dataclass(frozen=True, kw_only=True)
class NoisedRows:
    """Framed rows that were corrupted.

    Args:
        ids: [rows, longest] what the model reads.
        real: [rows, longest] which tokens are not padding; None where none is.
        origins: [rows, longest] int32, where a token stands in the row that was corrupted. Masks have ``INSERTED`` less the
            words that they hide; padding has an origin that means nothing.
        marks: [rows, length] of the row that was corrupted: what became of each token, in bits.
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
        settings: how.
        vocabulary: the tokens that rows are made of.
        longest: no row is made longer than this by insertions; one that comes longer stays as long as it is.
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
        """Corrupt rows, a function of each row and its key alone; the rows given are left as they are."""
        random = several_row_bits([f"noise.{stream}" for stream in _STREAMS], keys)  # [streams, rows]
        count, width = rows.ids.shape
        stretch = max(1, CACHED // width)
        marks = np.zeros(rows.ids.shape, np.uint8)
        parts = []
        for first in range(0, count, stretch):
            part = slice(first, first + stretch)
            parts.append(self._stretch(rows, part, dict(zip(_STREAMS, random[:, part], strict=True)), marks[part]))
        lengths, origins, ids = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        return self._assembled(rows, lengths, origins, ids, marks)

    def _stretch(
        self, rows: FramedRows, part: slice, random: dict[str, Bits], marks: NDArray[np.uint8]
    ) -> tuple[Indices, Indices, Indices]:
        """Some rows, as many as a core's cache holds: their new lengths, and behind one another the origins and the ids."""
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
        """What stands in the place of masks."""
        if not self.settings.random_share:
            return self._mask
        swapped = as_uniform(spread_at(random["random"].take(row), column)) < self.settings.random_share
        ordinary = self.vocabulary.ordinary_ids
        chosen = as_integers(spread_at(random["token"].take(row), column), len(ordinary))
        return np.where(swapped, ordinary.take(chosen), self._mask)

    def _assembled(
        self, rows: FramedRows, lengths: Indices, origins: Indices, ids: Indices, marks: NDArray[np.uint8]
    ) -> NoisedRows:
        """Rows of any length side by side."""
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
            # A mask is in the document of what follows it; the token that closes a row follows all.
            places = np.where(origins >= 0, np.arange(len(origins)), len(origins))
            following = np.minimum.accumulate(places[::-1])[::-1]
            row = np.repeat(np.arange(count), lengths)
            documents = side_by_side(rows.documents[row, origins.take(following)], 0, np.int64)
            if real is not None:
                documents[~real] = np.repeat(rows.documents.max(axis=1, initial=0), longest - lengths)
        return NoisedRows(
            ids=side_by_side(ids, self.vocabulary["pad"], np.int64),
            real=real,
            origins=side_by_side(origins, INSERTED, np.int32),
            marks=marks,
            documents=documents,
        )


class _Places:
    """Some rows while they are corrupted: what stands at each of their places.

    Args:
        fixed: [rows, length] the tokens that stay what and where they are.
        marks: [rows * length] what becomes of each token; written into.
        padding: [rows, length] where no token is; None for nowhere.
    """

    def __init__(self, fixed: NDArray[np.bool_], marks: NDArray[np.uint8], padding: NDArray[np.bool_] | None) -> None:
        self.fixed = fixed
        self._marks = marks
        self._order: Indices | None = None  # the token that stood at each place before any was hidden; None for its own
        self._stands = np.arange(fixed.size)  # that token, or a mask
        self._gone = np.zeros(fixed.size, np.bool_) if padding is None else padding.reshape(-1)

    def permute(self, sentence_starts: NDArray[np.bool_] | None, chosen: NoisingSettings, random: dict[str, Bits]) -> None:
        starts = np.zeros_like(self.fixed) if sentence_starts is None else sentence_starts
        permuted = permute_sentences(starts, self.fixed, chosen.permute, random["sentences"], random["order"])
        np.multiply(permuted.moved, MOVED, out=self._marks)
        self._marks[permuted.first] |= FIRST
        self._order, self._stands = permuted.order, permuted.order.copy()

    def infill(self, word_starts: NDArray[np.bool_], chosen: NoisingSettings, random: dict[str, Bits]) -> Indices:
        """Hide spans; returns how many spans of each row hold nothing."""
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
        """What stands in the rows, one behind the other, and how many each of them has."""
        kept = ~self._gone
        return self._stands.take(np.flatnonzero(kept)), np.sum(kept.reshape(self.fixed.shape), axis=1)

    def _tokens(self, share: float, random: Bits) -> Indices:
        """Places of a share of each row's tokens, among those that still stand."""
        taken = self.fixed | (self._gone | (self._stands < 0)).reshape(self.fixed.shape)
        return choose_tokens(orders(random, self.fixed.shape[1]), taken, share_of(np.sum(~self.fixed, axis=1), share))

    def _mark(self, places: Indices, mark: np.uint8) -> None:
        self._marks[places if self._order is None else self._order.take(places)] |= mark


def _inserted(origins: Indices, lengths: Indices, counts: Indices, random: Bits) -> tuple[Indices, Indices]:
    """Rows with masks put in between: any places but the first and the last of a row, each set of them as likely.

    Args:
        origins: [tokens] of rows behind one another.
        lengths, counts, random: [rows] tokens of each, masks to insert, and numbers.

    Returns:
        The origins with ``INSERTED`` between them, and the new lengths.
    """
    most = int(counts.max())
    numbers = spread(random, most)
    never = int(lengths.max()) + most
    slots = np.full((len(counts), most), never)
    for turn in range(most):
        # Each mask goes to any gap between what stands there already; what is behind it moves on.
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
