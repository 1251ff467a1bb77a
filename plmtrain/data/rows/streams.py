"""The corpus as equal streams that are read side by side, for programs that carry a memory from one step to the next.

Stream s is part s of the corpus, counted from 0, when it is cut into equal parts. Its row at time t begins ``advance`` tokens
after its row at time t - 1. A batch is all streams at one time (Dai et al. 2019, section 3.2; Yang et al. 2019, section 2.4).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from plmtrain.data.corpus.store import Store, marked
from plmtrain.data.rows.rows import Rows
from plmtrain.errors import TooLittleText
from plmtrain.keyed_random import Keys, as_integers, bits

_HELD_OUT_TIMES = 8
"""The number of rows of a held-out stream, if the text is long enough: with one row, the memory would never be measured."""


class Streams:
    """A source whose row ``time * streams + stream`` is the row of one stream at one time.

    Tokens after the last whole row of a stream, and tokens of the corpus after the last stream, are never read.

    Args:
        store: one split of the prepared data.
        length: tokens in a row.
        streams: the number of streams; a step reads them all.
        advance: tokens from the start of a row to that of the next; ``length`` if None, and less if rows overlap.
        others: the number of tokens of text from elsewhere that each row also gets, from the start of a sentence on. The choice
            of the text depends on the row only, as if it had been made when the data were prepared.
        isolate_documents: whether rows say which document each token is of.

    Raises:
        TooLittleText: if the text does not fill one row of every stream.
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
            raise TooLittleText(
                f"the {store.split} text has {len(store)} tokens, but {streams} streams of rows of {length} take "
                f"{streams * length}",
                str(store.folder),
                "give more text (data.files=, data.validation_fraction=), or lower trainer.batch_size or trainer.sequence_length",
            )
        self._store, self._length, self._isolate = store, length, isolate_documents
        self._times = (self._each - length) // self._advance + 1
        self._others = others
        # The number of sentences with enough text from their first token on; the first sentence always has enough.
        self._openings = int(np.searchsorted(store.sentences, len(store) - others, side="right")) if others else 0

    def __len__(self) -> int:
        return self._times * self.streams

    def fetch(self, indices: NDArray[np.int64]) -> Rows:
        """Return the rows at some indices, in that order; those of time 0 are fresh."""
        times, streams = np.divmod(np.asarray(indices, np.int64), self.streams)
        rows = self._cut(streams * self._each + times * self._advance, self._length, times)
        if not self._others:
            return rows
        random = bits("streams.other", Keys(0, np.zeros_like(times), np.asarray(indices, np.int64)), 1)[:, 0]
        others = self._cut(self._store.sentences[as_integers(random, self._openings)], self._others)
        return replace(rows, others=others)

    def _cut(self, first: NDArray[np.int64], length: int, times: NDArray[np.int64] | None = None) -> Rows:
        """Return rows of one length, which begin at some tokens."""
        places = first[:, None] + np.arange(length)
        store = self._store
        return Rows(
            tokens=store.tokens[places].astype(np.int64),
            lengths=np.full(len(first), length, np.int64),
            word_starts=store.word_starts[places],
            documents=np.searchsorted(store.documents, places, side="right") if self._isolate else None,
            sentence_starts=marked(store.sentences, first, length),
            times=times,
            spellings=None if store.unknown is None else store.unknown.at(places),
        )


class TwoWayStreams(Streams):
    """Streams that are read from both ends: the ``others`` of a row at time t are the row at time t of its stream's end.

    A model that reads a text from right to left begins at the end of a stream, so that it knows all of the stream behind a row.
    The tokens after the last whole row of a stream are read in neither direction.
    """

    def fetch(self, indices: NDArray[np.int64]) -> Rows:
        """Return the rows at some indices, in that order, each with the row that is as far from the end of its stream."""
        times, streams = np.divmod(np.asarray(indices, np.int64), self.streams)
        mirrored = (self._times - 1 - times) * self.streams + streams
        return replace(super().fetch(indices), others=super().fetch(mirrored))


def held_out_streams(tokens: int, length: int, advance: int, most: int) -> int:
    """Return the number of streams for a held-out text: fewer than in training if it is short, so that each has a few rows.

    Args:
        tokens: the number of tokens of the text.
        length, advance: as in ``Streams``.
        most: the number of streams in training.
    """
    return max(1, min(most, tokens // (length + (_HELD_OUT_TIMES - 1) * advance)))
