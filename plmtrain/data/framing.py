"""From rows of text to rows as a model reads them: the special tokens around and between."""

from __future__ import annotations

import numpy as np

from plmtrain.corruption.masked_rows import FramedRows
from plmtrain.corruption.masking import frame
from plmtrain.data.rows import Rows
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
