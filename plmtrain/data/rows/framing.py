"""From rows of text to rows in which a pretraining objective hides or moves tokens: all as long as the longest there could be."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from plmtrain.corruption.masked_rows import FramedRows
from plmtrain.data.rows.pair_rows import PairRows, first_lengths
from plmtrain.data.rows.row_formats import Places, RowFormat
from plmtrain.data.rows.rows import Rows
from plmtrain.text.vocabulary import Vocabulary


def framed(rows: Rows, layout: RowFormat, vocabulary: Vocabulary) -> FramedRows:
    """Lay out each row as a family lays out one text: ``[CLS] A [SEP]`` (Devlin et al. 2019, section 3).

    Args:
        rows: of text.
        layout: the family's format of one text.
        vocabulary: for the special tokens.
    """
    width = rows.tokens.shape[1]
    places = Places(layout, [rows.lengths], width + layout.framing, width)
    documents = sentences = None
    if rows.documents is not None:
        # Special tokens before the text belong to its first document, those behind it and the padding to its last.
        last = rows.documents[np.arange(len(rows)), np.maximum(rows.lengths - 1, 0)]
        special = [rows.documents[:, 0]] * layout.opening + [last] * (layout.framing - layout.opening)
        documents = places.filled(rows.documents, special, last)
    if rows.sentence_starts is not None:
        sentences = places.filled(rows.sentence_starts, [False] * layout.framing, False)
    return FramedRows(
        ids=places.ids(rows.tokens, vocabulary),
        word_starts=places.filled(rows.word_starts, [True] * layout.framing, True),
        lengths=rows.lengths + layout.framing,
        real=None if places.full else places.real,
        documents=documents,
        sentence_starts=sentences,
    )


@dataclass(frozen=True, kw_only=True)
class FramedPairs(FramedRows):
    """Rows of pairs as a model reads them.

    Args:
        segments: [rows, length] segment ids, by the family's format.
    """

    segments: NDArray[np.int64]


def framed_pairs(
    rows: PairRows, layout: RowFormat, vocabulary: Vocabulary, lacking: NDArray[np.bool_] | None = None
) -> FramedPairs:
    """Lay out pairs: ``[CLS] A [SEP] B [SEP]``, the first ``[SEP]`` being of A's segment.

    Args:
        rows: pairs.
        layout: the family's format of two texts.
        vocabulary: for the special tokens.
        lacking: [rows, parts] which parts of the format rows lack that have one segment alone; None where all have both.
    """
    first, width = first_lengths(rows), rows.tokens.shape[1]
    texts = [first, rows.lengths - first]
    places = Places(layout, texts, width + layout.framing, width, [np.zeros_like(first), first], lacking)
    return FramedPairs(
        ids=places.ids(rows.tokens, vocabulary),
        word_starts=places.filled(rows.word_starts, [True] * layout.framing, True),
        lengths=places.lengths,
        real=places.real,
        segments=places.segments,
    )
