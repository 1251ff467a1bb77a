"""Framing of rows in which a pretraining objective hides or moves tokens: all are as long as the longest possible row."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from plmtrain.corruption.framed_rows import FramedRows
from plmtrain.data.rows.pair_rows import PairRows, first_lengths
from plmtrain.data.rows.row_formats import Places, RowFormat
from plmtrain.data.rows.rows import Rows
from plmtrain.text.vocabulary import Vocabulary


def framed(rows: Rows, row_format: RowFormat, vocabulary: Vocabulary) -> FramedRows:
    """Lay out each row as a family lays out one text: ``[CLS] A [SEP]`` (Devlin et al. 2019, section 3).

    Args:
        rows: rows of text.
        row_format: the family's format of one text.
        vocabulary: the ids of the special tokens.
    """
    width = rows.tokens.shape[1]
    places = Places(row_format, [rows.lengths], width + row_format.framing, width)
    documents = sentences = None
    if rows.documents is not None:
        # Special tokens before the text belong to its first document; those after it and the padding belong to its last.
        last = rows.documents[np.arange(len(rows)), np.maximum(rows.lengths - 1, 0)]
        special = [rows.documents[:, 0]] * row_format.opening + [last] * (row_format.framing - row_format.opening)
        documents = places.filled(rows.documents, special, last)
    if rows.sentence_starts is not None:
        sentences = places.filled(rows.sentence_starts, [False] * row_format.framing, False)
    return FramedRows(
        ids=places.ids(rows.tokens, vocabulary),
        word_starts=places.filled(rows.word_starts, [True] * row_format.framing, True),
        lengths=rows.lengths + row_format.framing,
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
    rows: PairRows, row_format: RowFormat, vocabulary: Vocabulary, lacking: NDArray[np.bool_] | None = None
) -> FramedPairs:
    """Lay out pairs: ``[CLS] A [SEP] B [SEP]``. The first ``[SEP]`` belongs to A's segment.

    Args:
        rows: the pairs.
        row_format: the family's format of two texts.
        vocabulary: the ids of the special tokens.
        lacking: [rows, parts] which parts of the format a row lacks because it has one segment only; None if all have both.
    """
    first, width = first_lengths(rows), rows.tokens.shape[1]
    texts = [first, rows.lengths - first]
    places = Places(row_format, texts, width + row_format.framing, width, [np.zeros_like(first), first], lacking)
    return FramedPairs(
        ids=places.ids(rows.tokens, vocabulary),
        word_starts=places.filled(rows.word_starts, [True] * row_format.framing, True),
        lengths=places.lengths,
        real=places.real,
        segments=places.segments,
    )
