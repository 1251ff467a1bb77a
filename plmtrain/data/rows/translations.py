"""Rows of parallel text: a sentence with its translation, or a stretch of one language (Lample and Conneau 2019, sections 3.3
to 3.5).

An epoch has a fixed number of rows of each language and of each pair of languages. Keys decide their order. An epoch is so
long that each row is read at least once; languages whose share is greater than that of their size are repeated.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from plmtrain.data.corpus.store import Store
from plmtrain.data.rows.quotas import quotas, shares
from plmtrain.data.rows.row_formats import RowFormat
from plmtrain.data.rows.rows import Rows
from plmtrain.errors import DataError
from plmtrain.keyed_random import permute

SIDE, SIDES = RowFormat.of("xlm", 1), RowFormat.of("xlm", 2)
"""The formats of a row of one side and of two sides: each of two has the special tokens of a single text (the authors' code)."""


@dataclass(frozen=True, kw_only=True)
class LanguageRows(Rows):
    """Rows with their languages; ``others`` are their translations, of length 0 where there is none.

    Args:
        languages: [rows] the number of each row's language.
        shares: [rows, length] the share of each token in the training text; None if unknown.
    """

    languages: NDArray[np.int64]
    shares: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class _Source:
    """Some rows of one kind.

    Args:
        documents: of one language, all documents in order; of a pair of languages, the first document of each pair.
        count: the number of rows that they make.
        ends: [documents] of one language, the number of tokens up to the end of each; None for a pair.
    """

    documents: NDArray[np.int64]
    count: int
    ends: NDArray[np.int64] | None = None


class Translations:
    """A source of rows of parallel text.

    Args:
        store: one split of the prepared data.
        length: tokens of a row of one language; the two sides of a pair have two less, since the model's row has two more special
            tokens then. Sides that are longer together are cut at their ends, in proportion to their lengths.
        translation_share: the share of rows that are pairs.
        exponent: each language, and each pair of languages, has rows in proportion to its size to this power.
        sentences: whether rows tell where sentences start.

    Raises:
        DataError: if the store has no languages, or no translations although some are required.
    """

    def __init__(self, store: Store, length: int, *, translation_share: float, exponent: float, sentences: bool = False) -> None:
        if store.languages is None or store.translations is None:
            raise DataError("the prepared text has no languages", str(store.folder), "prepare parallel text (data=parallel)")
        self._store, self._length, self._sentences = store, length, sentences
        self._languages = np.asarray(store.languages)
        second = np.asarray(store.translations)
        first = np.append(second[1:], False)
        pairs, alone = _pairs(self._languages, first), _stretches(store, self._languages, first | second, length)
        if translation_share and not pairs:
            where = f"{store.folder}: the {store.split} text"
            raise DataError(
                "there are no translations", where, "give translations, or hold out more text (data.validation_fraction)"
            )
        sizes = [[source.count for source in sources] for sources in (pairs, alone)]
        parts = [translation_share, 1 - translation_share]
        wanted = [part * share for some, part in zip(sizes, parts, strict=True) for share in shares(some, exponent).tolist()]
        self._sources = (*pairs, *alone)
        self.quotas = quotas([size for some in sizes for size in some], wanted)
        self._ends = np.cumsum(self.quotas)

    def __len__(self) -> int:
        return int(self._ends[-1])

    @cached_property
    def sizes(self) -> NDArray[np.int64]:
        """The tokens of text in each row, of both sides together.  # [rows]"""
        slots = permute(np.arange(len(self)), len(self), "parallel rows")
        which = np.searchsorted(self._ends, slots, side="right")
        sizes = np.zeros(len(slots), np.int64)
        for number, source in enumerate(self._sources):
            here = np.flatnonzero(which == number)
            rows = (slots[here] - self._ends[number] + self.quotas[number]) % source.count
            if source.ends is None:
                sizes[here] = self._kept(source, rows)[1].sum(axis=0)
            else:
                sizes[here] = np.minimum(self._length, int(source.ends[-1]) - rows * self._length)
        return sizes

    def fetch(self, indices: NDArray[np.int64]) -> LanguageRows:
        """Return the rows at some indices, in that order."""
        # Mixed, so that the first rows are of all kinds if only these are evaluated; without a seed: the data have one order.
        slots = permute(np.asarray(indices, np.int64), len(self), "parallel rows")
        which = np.searchsorted(self._ends, slots, side="right")
        sides = np.zeros((2, len(slots), self._length), np.int64)  # where each token is in the store
        lengths, languages = np.zeros((2, len(slots)), np.int64), np.zeros((2, len(slots)), np.int64)
        for number in np.unique(which):
            source, here = self._sources[number], np.flatnonzero(which == number)
            rows = (slots[here] - self._ends[number] + self.quotas[number]) % source.count
            if source.ends is not None:
                sides[0, here], lengths[0, here] = self._stretch(source, rows)
                languages[:, here] = self._languages[source.documents[0]]
                continue
            documents, kept = self._kept(source, rows)
            lengths[:, here] = kept
            begins = self._store.documents[documents]
            sides[:, here] = begins[..., None] + np.minimum(np.arange(self._length), np.maximum(kept - 1, 0)[..., None])
            languages[:, here] = self._languages[documents]
        return self._rows(sides[0], lengths[0], languages[0], self._rows(sides[1], lengths[1], languages[1], None))

    def _kept(self, source: _Source, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the documents of pairs, and the number of tokens that stay of each.  # [2, rows] each"""
        documents = source.documents[rows] + np.arange(2)[:, None]
        whole = self._store.documents[documents + 1] - self._store.documents[documents] - 1
        return documents, in_proportion(whole, self._length - SIDE.framing)

    def _stretch(self, source: _Source, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return where the tokens of stretches of one language are, and the number of tokens of each stretch."""
        assert source.ends is not None
        total = int(source.ends[-1])
        places = np.minimum(rows[:, None] * self._length + np.arange(self._length), total - 1)
        document = np.searchsorted(source.ends, places, side="right")
        ends = self._store.documents[source.documents[document] + 1]
        return ends - source.ends[document] + places, np.minimum(self._length, total - rows * self._length)

    def _rows(
        self, places: NDArray[np.int64], lengths: NDArray[np.int64], languages: NDArray[np.int64], others: Rows | None
    ) -> LanguageRows:
        tokens = self._store.tokens[places].astype(np.int64)
        return LanguageRows(
            tokens=tokens,
            lengths=lengths,
            word_starts=self._store.word_starts[places],
            sentence_starts=self._starts_of_sentences(places) if self._sentences else None,
            languages=languages,
            shares=self._store.shares[tokens],
            others=others,
        )

    def _starts_of_sentences(self, places: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return whether a sentence starts at places in the store.  # [rows, length] -> the same"""
        starts = self._store.sentences
        starting: NDArray[np.bool_] = starts[np.searchsorted(starts, places)] == places
        return starting


def _pairs(languages: NDArray[np.uint8], first: NDArray[np.bool_]) -> list[_Source]:
    """Return the pairs of each two languages."""
    documents = np.flatnonzero(first)
    kinds = languages[documents].astype(np.int64) * 256 + languages[documents + 1]
    return [_Source(documents[kinds == kind], int(np.count_nonzero(kinds == kind))) for kind in np.unique(kinds)]


def _stretches(store: Store, languages: NDArray[np.uint8], paired: NDArray[np.bool_], length: int) -> list[_Source]:
    """Return the text of each language: the documents without a translation, or all documents if each has one."""
    sources = []
    for language in np.unique(languages):
        spoken = languages == language
        alone = spoken & ~paired
        documents = np.flatnonzero(alone if alone.any() else spoken)
        ends = np.cumsum(np.diff(store.documents)[documents])
        sources.append(_Source(documents, -(-int(ends[-1]) // length), ends))
    return sources


def in_proportion(lengths: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """Return the number of tokens to keep of each side of pairs so that they fit: the same share of both, and one at least.

    Args:
        lengths: [2, pairs] the number of tokens of each side, at least 1.
        most: the greatest number of tokens of both sides together.
    """
    total = lengths.sum(axis=0)
    first = np.clip(np.rint(lengths[0] * most / total).astype(np.int64), np.maximum(1, most - lengths[1]), most - 1)
    kept = np.stack([np.minimum(first, lengths[0]), np.minimum(most - first, lengths[1])])
    return np.where(total <= most, lengths, kept)
