"""Rows of random tokens in memory, for any program: as its objective reads text, or with a task's labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from support.parallel_store import corpus

from plmtrain.data.corpus.store import Store
from plmtrain.data.loading.order import Phase
from plmtrain.data.rows.pair_rows import PairRows
from plmtrain.data.rows.rows import PartedRows, Rows, RowSource
from plmtrain.data.rows.streams import Streams, TwoWayStreams
from plmtrain.data.rows.translations import Translations
from plmtrain.data.rows.unknown_words import UnknownWords
from plmtrain.families import SENTINEL, TOKENIZER_FAMILIES
from plmtrain.text.spelling import word_bytes
from plmtrain.text.vocabulary import Vocabulary


def vocabulary_of(family: str, size: int = 64) -> Vocabulary:
    """A small vocabulary with a family's special tokens.

    Args:
        family: of tokenizers.
        size: how many tokens there are, special ones included; more where these alone are as many.
    """
    tokens = TOKENIZER_FAMILIES[family]
    size = size if size > len(tokens.specials) else size + len(tokens.specials)
    ids = {token: place for place, token in enumerate(tokens.first)}
    ids |= {token: size - len(tokens.last) + place for place, token in enumerate(tokens.last)}
    sentinels = tuple(ids[name] for turn in range(size) if (name := SENTINEL.format(turn)) in ids)
    roles = {role: ids[token] for role, token in tokens.roles.items()}
    named = {place: token for token, place in ids.items()}
    words = tuple(named.get(place, f"word{place}") for place in range(size)) if tokens.marks_sentences else ()
    return Vocabulary(size, roles, tuple(sorted(ids.values())), sentinels=sentinels, words=words)


VOCABULARY = vocabulary_of("bert")
"""Ids 0 to 4 are ``pad``, ``unk``, ``cls``, ``sep`` and ``mask``; 59 are ordinary."""


def text(numbers: np.random.Generator, shape: tuple[int, ...], vocabulary: Vocabulary) -> np.ndarray:
    """Ordinary tokens, of which few are most of the text."""
    ordinary = vocabulary.ordinary_ids
    return ordinary[numbers.zipf(1.5, shape) % len(ordinary)]


class MemoryRows:
    """Whole rows.

    Args:
        count: how many.
        length: tokens in each.
        seed: of the tokens.
        vocabulary: which they are of.
        divided: whether there are words of several tokens, sentences, and ends of documents within rows.
    """

    def __init__(
        self, count: int, length: int, seed: int = 0, vocabulary: Vocabulary = VOCABULARY, *, divided: bool = False
    ) -> None:
        self.tokens = text(np.random.default_rng(seed), (count, length), vocabulary)
        self.vocabulary, self.divided = vocabulary, divided

    def __len__(self) -> int:
        return len(self.tokens)

    def fetch(self, indices: np.ndarray) -> Rows:
        tokens = self.tokens[indices].astype(np.int64)
        everywhere = np.ones(tokens.shape, np.bool_)
        return Rows(
            tokens=np.where(tokens == self.vocabulary.ordinary_ids[4], self.vocabulary.document_end, tokens)
            if self.divided
            else tokens,
            lengths=np.full(len(tokens), tokens.shape[1]),
            word_starts=tokens % 3 > 0 if self.divided else everywhere,
            sentence_starts=tokens % 5 == 0 if self.divided else None,
            text=self.tokens.reshape(-1).astype(np.uint16),
            frequencies=np.bincount(self.tokens.reshape(-1), minlength=self.vocabulary.size) / self.tokens.size,
        )


class MemoryPairs:
    """Pairs of segments, a third of them shorter than the row.

    Args:
        count: how many.
        length: tokens of the longest.
        seed: of the tokens.
        vocabulary: which they are of.
    """

    def __init__(self, count: int, length: int, seed: int = 0, vocabulary: Vocabulary = VOCABULARY) -> None:
        numbers = np.random.default_rng(seed)
        self.tokens = text(numbers, (count, length), vocabulary)
        self.lengths = np.where(numbers.random(count) < 0.3, numbers.integers(2, length + 1, count), length)
        self.first = numbers.integers(1, self.lengths)
        self.labels = numbers.integers(0, 2, count)

    def __len__(self) -> int:
        return len(self.tokens)

    def fetch(self, indices: np.ndarray) -> PairRows:
        tokens = self.tokens[indices].astype(np.int64)
        return PairRows(
            tokens=tokens,
            lengths=self.lengths[indices],
            word_starts=np.ones(tokens.shape, np.bool_),
            segments=(np.arange(tokens.shape[1]) >= self.first[indices][:, None]).astype(np.int64),
            labels=self.labels[indices],
        )


def memory_store(tokens: int, seed: int, vocabulary: Vocabulary) -> Store:
    """A text of some documents of some sentences each, with unknown words if there are words."""
    numbers = np.random.default_rng(seed)
    ids = text(numbers, (tokens,), vocabulary)
    documents = np.unique([0, *numbers.integers(1, tokens, tokens // 40), tokens])
    ids[documents[1:] - 1] = vocabulary.document_end
    sentences = np.union1d(documents, numbers.integers(1, tokens, tokens // 8))
    unknown = None
    if vocabulary.words:
        places = np.flatnonzero((numbers.random(tokens) < 0.1) & (ids != vocabulary.document_end))
        ids[places] = vocabulary["unk"]
        unknown = UnknownWords(places, word_bytes([f"rare{number}" for number in numbers.integers(0, 9, len(places))]))
    return Store(Path("memory"), "train", ids.astype(np.uint16), documents, sentences, np.ones(tokens, np.bool_), unknown=unknown)


def _blocks(program: Any, phase: Phase, count: int, seed: int) -> MemoryRows:
    return MemoryRows(count, program.row_shape(phase.sequence_length).length, seed, program.vocabulary, divided=True)


def _pairs(program: Any, phase: Phase, count: int, seed: int) -> MemoryPairs:
    return MemoryPairs(count, program.row_shape(phase.sequence_length).length, seed, program.vocabulary)


def _streams(program: Any, phase: Phase, count: int, seed: int) -> Streams:
    """As many streams as a step has rows, and five held-out ones; each has rows at five times."""
    shape = program.row_shape(phase.sequence_length)
    streams = 5 if seed else phase.batch_size
    store = memory_store(streams * (shape.length + 4 * (shape.advance or shape.length)), seed, program.vocabulary)
    kind = TwoWayStreams if program.settings.source == "two_way_streams" else Streams
    isolated = kind is Streams
    return kind(store, shape.length, streams, advance=shape.advance, others=shape.others, isolate_documents=isolated)


def _translations(program: Any, phase: Phase, count: int, seed: int) -> Translations:
    ordinary, languages = program.vocabulary.ordinary_ids, len(program.model.languages)
    first, last = (int(ordinary[0]) + 1) // 2 * 2, min(62, int(ordinary[-1]) + 1)
    store = corpus(count // 4, seed, languages=languages, first=first, last=last, end=program.vocabulary["sep"])
    chosen = program.settings
    length = program.row_shape(phase.sequence_length).length
    return Translations(store, length, translation_share=chosen.translation_share, exponent=chosen.language_exponent)


_SOURCES = {
    "blocks": _blocks,
    "segment_pairs": _pairs,
    "streams": _streams,
    "two_way_streams": _streams,
    "translations": _translations,
}


def memory_rows(program: Any, phase: Phase, count: int, seed: int = 0) -> RowSource | PartedRows:
    """Rows as a program reads them in a phase; each part of one has another number of them.

    Args:
        program: an objective's.
        phase: which gives their length.
        count: how many, where a row stands by itself.
        seed: of the tokens; 0 for those to train on.
    """
    rows = {
        part.name: _SOURCES[part.program.settings.source](part.program, phase, count + 7 * turn, seed)
        for turn, part in enumerate(program.parts.members)
    }
    return rows[None] if None in rows else PartedRows(rows)
