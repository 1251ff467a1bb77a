"""The corpus as consecutive stretches of one length: no padding, documents one after another (RoBERTa's full sentences)."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from plmtrain.data.corpus.store import Store, marked
from plmtrain.data.rows.rows import Rows
from plmtrain.errors import TooLittleText


def block_count(tokens: int, length: int, advance: int) -> int:
    """Return the number of blocks of a text.

    Args:
        tokens: the tokens of the text.
        length: tokens in a row.
        advance: tokens from the start of a row to the start of the next one.
    """
    return max(0, (tokens - length) // advance + 1)


class Blocks:
    """A source whose row i is tokens [i * advance, i * advance + length); the remainder at the end is never read.

    Args:
        store: one split of the prepared data.
        length: tokens in a row.
        isolate_documents: whether rows say which document each token is of.
        advance: tokens from the start of a row to the start of the next one; the length if omitted.
        tells_frequencies: whether rows say how frequent each token is.

    Raises:
        TooLittleText: if the text does not fill one row.
    """

    def __init__(
        self,
        store: Store,
        length: int,
        isolate_documents: bool = False,
        advance: int | None = None,
        *,
        tells_frequencies: bool = False,
    ) -> None:
        self._length, self._advance = length, advance or length
        self._count = block_count(len(store), length, self._advance)
        if self._count < 1:
            raise TooLittleText(
                f"the {store.split} text has {len(store)} tokens, but a row takes {length}",
                str(store.folder),
                "give more text (data.files=, data.validation_fraction=), or a smaller trainer.sequence_length",
            )
        self._tokens = sliding_window_view(store.tokens, length)[:: self._advance]
        self._word_starts = sliding_window_view(store.word_starts, length)[:: self._advance]
        self._documents = store.documents if isolate_documents else None
        self._sentences = store.sentences
        self._text = store.tokens
        self._frequencies = store.shares if tells_frequencies else None

    def __len__(self) -> int:
        return self._count

    def fetch(self, indices: NDArray[np.int64]) -> Rows:
        """Return the rows at some indices, in that order."""
        return Rows(
            tokens=self._tokens[indices].astype(np.int64),
            lengths=np.full(len(indices), self._length, np.int64),
            word_starts=self._word_starts[indices],
            documents=self._documents_of(indices),
            sentence_starts=marked(self._sentences, np.asarray(indices) * self._advance, self._length),
            text=self._text,
            frequencies=self._frequencies,
        )

    def _documents_of(self, indices: NDArray[np.int64]) -> NDArray[np.int64] | None:
        """Return the document of each token, counted from 0 in each row.  # [rows, length]"""
        if self._documents is None:
            return None
        positions = np.asarray(indices)[:, None] * self._advance + np.arange(self._length)
        documents = np.searchsorted(self._documents, positions, side="right")
        return (documents - documents[:, :1]).astype(np.int64)
