"""Rows of XLNet's pretraining (Yang et al. 2019, section 2.5; the authors' code, ``data_utils.py``): a stretch that
continues the row before, then two segments.

A row is ``[reuse] [A] <sep> [B] <sep> <cls>``. A begins where the stretch ends, and is cut before a sentence. B continues A, or
is a text from elsewhere. As in the authors' code, the next row of the stream begins after the stretch: it reads A again, and
also B if B continued A. The authors' code differs in five ways:

- Both segments end where a sentence does, and then the longer one loses tokens at its end until they fit. A is shorter (117
  tokens on average in rows of 512, here 127), and the text between A and B is lost. Here only B is cut, and a row needs no text
  beyond its own stretch.
- A document ends with ``<eod>``, which may be predicted; here with ``<sep>``, which is never predicted.
- A random B is drawn by its tokens from its own stream; here by its sentences from the whole corpus.
- Whether B is random, and where A is cut, is drawn when the data are prepared. Here the text of a random B depends on its row
  only, while each epoch draws the others again.
- Half of a batch may be read backwards.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from plmtrain.data.rows.row_formats import Places, RowFormat
from plmtrain.data.rows.rows import Rows, beside
from plmtrain.keyed_random import Bits, Keys, as_integers, as_uniform, bits
from plmtrain.text.vocabulary import Vocabulary

FORMAT = RowFormat.of("xlnet", 2)
"""A row has one special token after each segment, and one that represents the row."""


@dataclass(frozen=True, kw_only=True)
class SegmentPairs:
    """Rows as the model reads them.

    Args:
        ids: [rows, length] token ids.
        segments: [rows, length] 0 for the stretch, A and its end, 1 for B and its end, 2 for the token that represents the row.
        word_starts: [rows, length] whether a token begins a word; special tokens do.
        documents: [rows, length] the document of each token; a special token has that of the token before it. None if rows
            are not divided into documents.
    """

    ids: NDArray[np.int64]
    segments: NDArray[np.int64]
    word_starts: NDArray[np.bool_]
    documents: NDArray[np.int64] | None


def segment_pairs(rows: Rows, vocabulary: Vocabulary, keys: Keys, *, reuse: int, random_share: float) -> SegmentPairs:
    """Cut rows of text into a stretch and two segments.

    Args:
        rows: text, each row as long as the others; random segments are taken from their ``others``.
        vocabulary: the ids of the special tokens.
        keys: the keys of the rows.
        reuse: the number of tokens of the stretch.
        random_share: the share of rows in which B is a text from elsewhere, if rows have others.
    """
    count, text = rows.tokens.shape
    pair = text - reuse
    assert pair >= 2, "two segments need a token each"
    assert np.all(rows.lengths == text), "streams have no short rows"
    numbers = bits("plm.segments", keys, 2)
    cut = _cuts(rows, reuse, numbers[:, 0])  # tokens of A
    others = rows.others
    random = np.zeros(count, np.bool_) if others is None else as_uniform(numbers[:, 1]) < random_share
    first, second = reuse + cut, pair - cut  # tokens before the first <sep>, and tokens of B
    begins = np.where(random, text, first)  # of B, in the row's own text followed by the text from elsewhere
    tokens = beside(rows.tokens, None if others is None else others.tokens)
    starts = beside(rows.word_starts, None if others is None else others.word_starts)
    places = Places(FORMAT, [first, second], text + FORMAT.framing, tokens.shape[1], [np.zeros_like(first), begins])
    documents = None
    if rows.documents is not None:
        known = beside(rows.documents, None if others is None else others.documents)
        here = np.arange(count)
        last = known[here, begins + second - 1]
        documents = places.filled(known, [known[here, first - 1], last, last], 0)
    return SegmentPairs(
        ids=places.ids(tokens, vocabulary),
        segments=places.segments,
        word_starts=places.filled(starts, [True] * FORMAT.framing, True),
        documents=documents,
    )


def _cuts(rows: Rows, reuse: int, random: Bits) -> NDArray[np.int64]:
    """Return the length of A: up to a random sentence, or to a random place if none begins after its first token.  # [rows]"""
    anywhere = 1 + as_integers(random, rows.tokens.shape[1] - reuse - 1)
    if rows.sentence_starts is None:
        return anywhere
    begins = rows.sentence_starts[:, reuse + 1 :]
    counted = np.cumsum(begins, axis=1)
    chosen = as_integers(random, np.maximum(counted[:, -1], 1))
    at_sentence = 1 + np.argmax(counted > chosen[:, None], axis=1)
    return np.where(counted[:, -1] > 0, at_sentence, anywhere)
