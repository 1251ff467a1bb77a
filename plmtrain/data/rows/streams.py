"""The corpus as equal streams that are read side by side, for programs that carry a memory from one step to the next.

Stream s is the how-manieth equal part of the corpus; its row at time t begins ``advance`` tokens behind the one at time t - 1.
A batch is all streams at one time (Dai et al. 2019, section 3.2; Yang et al. 2019, section 2.4).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from plmtrain.data.corpus.store import Store, marked
from plmtrain.data.rows.rows import Rows
from plmtrain.errors import DataError
from plmtrain.keyed_random import Keys, as_integers, bits

_HELD_OUT_TIMES = 8
"""Rows that a held-out stream has, where the text allows: with one alone, no memory would ever be measured."""


class Streams:
    """Row ``time * streams + stream`` is the row of a stream at a time.

    What a stream has beyond its last whole row, and the corpus beyond the last stream, is read in no epoch.

    Args:
        store: one split of the prepared data.
        length: tokens in a row.
        streams: how many there are; a step reads them all.
        advance: tokens from the start of a row to that of the next; ``length`` if None, and less where rows overlap.
        others: tokens of text from elsewhere that each row is given too, from the start of a sentence on. Which text that is
            depends on the row alone, as if it had been chosen when the data were prepared.
        isolate_documents: whether rows say which document each token is of.

    Raises:
        DataError: if the text does not fill one row of every stream.
    """

    def __init__(
        self,
        store: Store,
        length: int,
        streams: int,
        *,
        advance: int | None = None,
        others: int = 0,
        isolate_documents: bool = False,
    ) -> None:
        assert streams > 0
        assert 0 < (advance or length) <= length
        assert 0 <= others <= length
        self.streams = streams
        self._advance = advance or length
        self._each = len(store) // streams
        if self._each < length:
            raise DataError(
                f"the {store.split} text has {len(store)} tokens, but {streams} streams of rows of {length} take "
                f"{streams * length}",
                str(store.folder),
                "give more text (data.files=, data.validation_fraction=), or lower trainer.batch_size or trainer.sequence_length",
            )
        self._store, self._length, self._isolate = store, length, isolate_documents
        self._times = (self._each - length) // self._advance + 1
        self._others = others
        # Sentences behind whose first token there is enough text; the first always is one.
        self._openings = int(np.searchsorted(store.sentences, len(store) - others, side="right")) if others else 0

    def __len__(self) -> int:
        return self._times * self.streams

    def fetch(self, indices: NDArray[np.int64]) -> Rows:
        """The rows at some indices, in that order; those of time 0 are fresh."""
        times, streams = np.divmod(np.asarray(indices, np.int64), self.streams)
        rows = self._cut(streams * self._each + times * self._advance, self._length, times == 0)
        if not self._others:
            return rows
        random = bits("streams.other", Keys(0, np.zeros_like(times), np.asarray(indices, np.int64)), 1)[:, 0]
        others = self._cut(self._store.sentences[as_integers(random, self._openings)], self._others)
        return replace(rows, others=others)

    def _cut(self, first: NDArray[np.int64], length: int, fresh: NDArray[np.bool_] | None = None) -> Rows:
        """Rows of one length from some places on."""
        places = first[:, None] + np.arange(length)
        store = self._store
        return Rows(
            tokens=store.tokens[places].astype(np.int64),
            lengths=np.full(len(first), length, np.int64),
            word_starts=store.word_starts[places],
            documents=np.searchsorted(store.documents, places, side="right") if self._isolate else None,
            sentence_starts=marked(store.sentences, first, length),
            fresh=fresh,
        )


def held_out_streams(tokens: int, length: int, advance: int, most: int) -> int:
    """How many streams a held-out text is cut into: fewer than in training where it is short, so that each has a few rows.

    Args:
        tokens: of the text.
        length, advance: as in ``Streams``.
        most: as many as in training.
    """
    return max(1, min(most, tokens // (length + (_HELD_OUT_TIMES - 1) * advance)))
