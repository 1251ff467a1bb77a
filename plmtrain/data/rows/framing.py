"""Framing of rows in which a pretraining objective hides or moves tokens: all are as long as the longest possible row."""

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
        rows: rows of text.
        layout: the family's format of one text.
        vocabulary: the ids of the special tokens.
    """
    width = rows.tokens.shape[1]
    places = Places(layout, [rows.lengths], width + layout.framing, width)
    documents = sentences = None
    if rows.documents is not None:
        # Special tokens before the text belong to its first document; those after it and the padding belong to its last.
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
        segments: [rows, length] segment ids, as the family's format defines them.
    """

    segments: NDArray[np.int64]


def framed_pairs(
    rows: PairRows, layout: RowFormat, vocabulary: Vocabulary, lacking: NDArray[np.bool_] | None = None
) -> FramedPairs:
    """Lay out pairs: ``[CLS] A [SEP] B [SEP]``. The first ``[SEP]`` belongs to A's segment.

    Args:
        rows: the pairs.
        layout: the family's format of two texts.
        vocabulary: the ids of the special tokens.
        lacking: [rows, parts] which parts of the format a row lacks because it has one segment only; None if all have both.
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
