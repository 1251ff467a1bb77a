"""From rows of text to rows as a model reads them: the special tokens around and between."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from plmtrain.corruption.masked_rows import FramedRows
from plmtrain.corruption.masking import frame
from plmtrain.data.rows.pair_rows import PairRows, first_lengths
from plmtrain.data.rows.row_formats import RowFormat
from plmtrain.data.rows.rows import Rows
from plmtrain.text.vocabulary import Vocabulary


def framed(rows: Rows, vocabulary: Vocabulary) -> FramedRows:
    """Each row between cls and sep (Devlin et al. 2019, section 3)."""
    ids, real = frame(rows.tokens, rows.lengths, opening=vocabulary["cls"], closing=vocabulary["sep"], padding=vocabulary["pad"])
    documents = None
    if rows.documents is not None:
        # The opening token belongs to the first document, the closing one and the padding to the last.
        last = rows.documents[np.arange(len(rows)), np.maximum(rows.lengths - 1, 0)]
        documents = np.pad(rows.documents, ((0, 0), (1, 1)), mode="edge")
        behind = np.arange(ids.shape[1]) > rows.lengths[:, None]
        documents = np.where(behind, last[:, None], documents)
    starts = np.ones(ids.shape, np.bool_)
    starts[:, 1:-1] = rows.word_starts
    sentences = None if rows.sentence_starts is None else np.pad(rows.sentence_starts, ((0, 0), (1, 1)))
    return FramedRows(
        ids=ids, word_starts=starts, lengths=rows.lengths + 2, real=real, documents=documents, sentence_starts=sentences
    )


@dataclass(frozen=True, kw_only=True)
class FramedPairs(FramedRows):
    """Rows of pairs as a model reads them.

    Args:
        segments: [rows, length] segment ids, by the family's format.
    """

    segments: NDArray[np.int64]


def framed_pairs(rows: PairRows, layout: RowFormat, vocabulary: Vocabulary) -> FramedPairs:
    """Pairs as a family lays them out: ``[CLS] A [SEP] B [SEP]``, the first ``[SEP]`` being of A's segment.

    All rows are as long as the longest that there could be, so that a run has one shape.

    Args:
        rows: pairs, each with both of its segments.
        layout: the family's format of two texts, padded on the right.
        vocabulary: for the special tokens.
    """
    count, length = len(rows), rows.tokens.shape[1] + layout.framing
    first = first_lengths(rows)[:, None]
    sizes = {0: first, 1: rows.lengths[:, None] - first}
    place = np.arange(length)
    ids = np.full((count, length), vocabulary["pad"], np.int64)
    starts = np.ones((count, length), np.bool_)
    segments = np.full((count, length), layout.padding_segment, np.int64)
    begin = np.zeros((count, 1), np.int64)
    for part, segment in layout.parts:
        size = sizes[part] if isinstance(part, int) else 1
        here = (place >= begin) & (place < begin + size)
        segments[here] = segment
        if isinstance(part, int):
            taken = np.clip(place - begin + (first if part else 0), 0, rows.tokens.shape[1] - 1)
            np.copyto(ids, np.take_along_axis(rows.tokens, taken, axis=1), where=here)
            np.copyto(starts, np.take_along_axis(rows.word_starts, taken, axis=1), where=here)
        else:
            ids[here] = vocabulary[part]
        begin = begin + size
    return FramedPairs(ids=ids, word_starts=starts, lengths=begin[:, 0], real=place < begin, documents=None, segments=segments)
