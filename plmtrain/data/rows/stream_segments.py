"""Rows of XLNet's pretraining (Yang et al. 2019, section 2.5; the authors' code, ``data_utils.py``): a stretch that goes on from
the row before, and two segments behind it.

A row is ``[reuse] [A] <sep> [B] <sep> <cls>``. A begins where the stretch ends, and is cut off before a sentence; B goes on
from A, or is a text from elsewhere. As in the authors' code, the next row of the stream begins behind the stretch, so that it
reads A, and what of B went on from A, once more. Unlike there, a random B is chosen from the whole corpus and fixed by its row,
while whether it is taken and where A is cut is drawn anew in each epoch; and no half of a batch is read backwards.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from plmtrain.data.rows.rows import Rows
from plmtrain.keyed_random import Bits, Keys, as_integers, as_uniform, bits
from plmtrain.text.vocabulary import Vocabulary

FRAMING = 3
"""Special tokens of a row: one behind each segment, and the one that stands for the row."""

CLASSIFYING, PADDING = 2, 3
"""The segments of the token that stands for the row, and of padding."""


@dataclass(frozen=True, kw_only=True)
class SegmentPairs:
    """Rows as the model reads them.

    Args:
        ids: [rows, length] token ids.
        segments: [rows, length] 0 for the stretch, A and its end, 1 for B and its end, 2 for the token that stands for the row.
        word_starts: [rows, length] whether a token begins a word; special tokens do.
        documents: [rows, length] the document of each token, a special one's being that of the token before it; None where
            rows are not divided.
    """

    ids: NDArray[np.int64]
    segments: NDArray[np.int64]
    word_starts: NDArray[np.bool_]
    documents: NDArray[np.int64] | None


def segment_pairs(rows: Rows, vocabulary: Vocabulary, keys: Keys, *, reuse: int, random_share: float) -> SegmentPairs:
    """Cut rows of text into a stretch and two segments.

    Args:
        rows: text, each row as long as the others; their ``others`` are what random segments are taken from.
        vocabulary: for the special tokens.
        keys: of the rows.
        reuse: tokens of the stretch.
        random_share: how often B is a text from elsewhere, where rows have others.
    """
    count, text = rows.tokens.shape
    pair = text - reuse
    assert pair >= 2, "two segments need a token each"
    assert np.all(rows.lengths == text), "streams have no short rows"
    numbers = bits("plm.segments", keys, 2)
    cut = _cuts(rows, reuse, numbers[:, 0])[:, None]  # tokens of A
    others = rows.others
    random = np.zeros((count, 1), np.bool_) if others is None else as_uniform(numbers[:, 1:]) < random_share

    # Where each place is found in the row's own text and, behind it, the text from elsewhere; a special token's source is the
    # one before it.
    place = np.arange(pair + FRAMING)
    in_second = np.minimum(place - cut, pair - cut) - 1  # the how-manieth token of B
    source = np.where(random, text + in_second, reuse + cut + in_second)
    source = np.where(place <= cut, reuse + np.minimum(place, cut - 1), source)
    source = np.concatenate([np.broadcast_to(np.arange(reuse), (count, reuse)), source], axis=1)

    ids = np.take_along_axis(_beside(rows.tokens, None if others is None else others.tokens), source, axis=1)
    starts = np.take_along_axis(_beside(rows.word_starts, None if others is None else others.word_starts), source, axis=1)
    documents = None
    if rows.documents is not None:
        documents = np.take_along_axis(_beside(rows.documents, None if others is None else others.documents), source, axis=1)
    here = np.arange(count)
    ids[here, reuse + cut[:, 0]], starts[here, reuse + cut[:, 0]] = vocabulary["sep"], True
    ids[:, -2], ids[:, -1], starts[:, -2:] = vocabulary["sep"], vocabulary["cls"], True
    segments = np.zeros(ids.shape, np.int64)
    segments[:, reuse:] = place > cut
    segments[:, -1] = CLASSIFYING
    return SegmentPairs(ids=ids, segments=segments, word_starts=starts, documents=documents)


def _cuts(rows: Rows, reuse: int, random: Bits) -> NDArray[np.int64]:
    """How long A is: up to a random sentence, or, where none begins behind its first token, up to a random place.  # [rows]"""
    anywhere = 1 + as_integers(random, rows.tokens.shape[1] - reuse - 1)
    if rows.sentence_starts is None:
        return anywhere
    begins = rows.sentence_starts[:, reuse + 1 :]
    counted = np.cumsum(begins, axis=1)
    chosen = as_integers(random, np.maximum(counted[:, -1], 1))
    at_sentence = 1 + np.argmax(counted > chosen[:, None], axis=1)
    return np.where(counted[:, -1] > 0, at_sentence, anywhere)


def _beside(own: NDArray, other: NDArray | None) -> NDArray:  # type: ignore[type-arg]
    return own if other is None else np.concatenate([own, other], axis=1)
