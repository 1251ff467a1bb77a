"""Encoded examples, one text or a pair each, as a source of rows that fit the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from plmtrain.data.corpus.encoding import running_text
from plmtrain.data.rows.rows import Rows, RowSource
from plmtrain.data.rows.unknown_words import UnknownWords
from plmtrain.settings.base import MOST_PLACES
from plmtrain.stopping import safe_point
from plmtrain.text.spelling import word_bytes

if TYPE_CHECKING:
    from plmtrain.text.tokenizer import Tokenizer

_AT_ONCE = 1024
"""Texts that are encoded between two looks for a signal."""


@dataclass(frozen=True, kw_only=True)
class ExampleRows(Rows):
    """Rows of examples: ``others`` are the second texts of pairs.

    Args:
        targets: [rows, ...] the right answer of each as numbers, such as that of its label; None where it is unknown.
    """

    targets: NDArray[Any] | None = None


def cut(rows: Rows, lengths: NDArray[np.int64]) -> Rows:
    """Return the beginnings of texts.

    Args:
        rows: the texts.
        lengths: [rows] how much of each, at most all of it.
    """
    longest = int(lengths.max(initial=0))
    return Rows(
        tokens=rows.tokens[:, :longest],
        lengths=lengths,
        word_starts=rows.word_starts[:, :longest],
        spellings=None if rows.spellings is None else rows.spellings[:, :longest],
    )


def in_both_orders(rows: Rows) -> Rows:
    """Return pairs of texts, and then the same pairs in the other order."""
    assert rows.others is not None
    first, second = replace(rows, others=None), rows.others
    return replace(_below(first, second), others=_below(second, first))


def _below(upper: Rows, lower: Rows) -> Rows:
    """Return the rows of two arrays as one, which is as wide as the wider one."""
    width = max(upper.tokens.shape[1], lower.tokens.shape[1])

    def joined(one: NDArray[Any], other: NDArray[Any]) -> NDArray[Any]:
        wider = (((0, 0), (0, width - part.shape[1]), *((0, 0) for _ in part.shape[2:])) for part in (one, other))
        return np.concatenate([np.pad(part, pads) for part, pads in zip((one, other), wider, strict=True)])

    spellings = None
    if upper.spellings is not None and lower.spellings is not None:
        spellings = joined(upper.spellings, lower.spellings)

    return Rows(
        tokens=joined(upper.tokens, lower.tokens),
        lengths=np.concatenate([upper.lengths, lower.lengths]),
        word_starts=joined(upper.word_starts, lower.word_starts),
        spellings=spellings,
    )


@runtime_checkable
class ExampleSource(RowSource, Protocol):
    """Rows of examples whose right answers are known."""

    @property
    def references(self) -> Sequence[Any]:
        """The right answer of each example, as the reader of the task reads it."""
        ...

    @property
    def owners(self) -> NDArray[np.int64]:
        """The index of each row's example, in ascending order: the rows of an example stand together.  # [rows]"""
        ...


class Encoded(Protocol):
    """Examples as tokens, before it is known how long a row may be."""

    def rows(self, most: int) -> ExampleSource:
        """Return the rows, each with at most ``most`` tokens of text."""
        ...

    def cutting(self, length: int) -> str:
        """Return in words how much of the examples does not fit into the model's rows.

        Args:
            length: of these rows, in tokens.
        """
        ...


def kept_lengths(first: NDArray[np.int64], second: NDArray[np.int64], most: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """How much of each text of a pair stays, so that both fit: the longer one is cut, token by token (BERT's code).

    Args:
        first, second: [pairs] their lengths.
        most: tokens that a pair may have.
    """
    kept = np.minimum(first, np.maximum(most - second, (most + 1) // 2))
    return kept, np.minimum(second, most - kept)


@dataclass(frozen=True)
class Texts:
    """Encoded texts, one behind the other.

    Args:
        tokens: [tokens] in the smallest type that holds them.
        starts: [texts + 1] where each begins; the last number is where the last one ends.
        unknown: the words that a vocabulary of whole words lacks; None where tokens are not whole words.
    """

    tokens: NDArray[np.unsignedinteger]
    starts: NDArray[np.int64]
    unknown: UnknownWords | None = None

    @classmethod
    def encode(cls, texts: Sequence[str], tokenizer: Tokenizer) -> Texts:
        """Encode texts as they are pretrained on: on one line, unless the family keeps line ends."""
        kind = np.min_scalar_type(tokenizer.vocabulary.size - 1)
        parts: list[NDArray[np.unsignedinteger]] = [np.empty(0, kind)]
        starts = np.zeros(len(texts) + 1, np.int64)
        unknown: list[str] = []
        for first in range(0, len(texts), _AT_ONCE):
            safe_point()
            some = [running_text(text, tokenizer.family) for text in texts[first : first + _AT_ONCE]]
            for index, (ids, _) in enumerate(tokenizer.encode(some), start=first):
                parts.append(ids.astype(kind))
                starts[index + 1] = len(ids)
            unknown += [word for words in tokenizer.unknown_words(some) for word in words]
        tokens = np.concatenate(parts)
        if not tokenizer.vocabulary.words:
            return cls(tokens, np.cumsum(starts))
        places = np.flatnonzero(tokens == tokenizer.vocabulary["unk"])
        return cls(tokens, np.cumsum(starts), UnknownWords(places, word_bytes(unknown)))

    def lengths(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """Tokens of some texts."""
        return self.starts[indices + 1] - self.starts[indices]

    def rows(self, indices: NDArray[np.int64], lengths: NDArray[np.int64]) -> Rows:
        """The beginnings of some texts.

        Args:
            indices: [rows] which.
            lengths: [rows] how much of each.
        """
        columns = np.arange(lengths.max(initial=0))
        real = columns < lengths[:, None]
        places = np.where(real, self.starts[indices][:, None] + columns, 0)
        tokens = self.tokens[places] if len(self.tokens) else np.zeros(places.shape, np.int64)
        return Rows(
            tokens=np.where(real, tokens, 0).astype(np.int64),
            lengths=lengths,
            word_starts=real,
            spellings=None if self.unknown is None else self.unknown.at(places),
        )


@dataclass(frozen=True)
class EncodedTexts:
    """Examples of one text or two.

    Args:
        texts: the first texts, and for pairs the second ones.
        targets: [examples, ...] the right answers as numbers; None where they are unknown.
        references: the right answers themselves.
    """

    texts: tuple[Texts, ...]
    targets: NDArray[Any] | None
    references: Sequence[Any]

    def rows(self, most: int) -> EncodedExamples:
        """Return a row for each example; longer ones are cut to ``most`` tokens of text."""
        return EncodedExamples(self.texts, self.targets, most, self.references)

    def cutting(self, length: int) -> str:
        """Return in words which share of the examples is cut, by a little too much where special tokens are more than two."""
        sizes = np.sum([np.diff(part.starts) for part in self.texts], axis=0)  # [examples]
        share = float(np.mean(sizes + 1 + len(self.texts) > length))
        return f"{share:.1%} of the examples are cut to fit {length} tokens"


class WholeTexts(EncodedTexts):
    """Examples of one text, none of which is cut: longer ones are read in windows, which the program makes."""

    def rows(self, most: int) -> EncodedExamples:
        return super().rows(MOST_PLACES)

    def cutting(self, length: int) -> str:
        """Return in words which share of the texts is read in windows."""
        share = float(np.mean(np.diff(self.texts[0].starts) + 2 > length))
        return f"{share:.1%} of the texts are longer than {length} tokens, and read in windows"


class EncodedExamples:
    """A source of rows of examples, one row each.

    Args:
        texts: the first texts, and for pairs the second ones.
        targets: [examples, ...] the right answer of each as numbers; None where it is unknown.
        most: tokens of text in a row; longer examples are cut.
        references: the right answers themselves.
    """

    def __init__(self, texts: Sequence[Texts], targets: NDArray[Any] | None, most: int, references: Sequence[Any] = ()) -> None:
        self.texts, self.targets, self.most, self.references = tuple(texts), targets, most, references
        self.owners = np.arange(len(self))

    def __len__(self) -> int:
        return len(self.texts[0].starts) - 1

    @cached_property
    def sizes(self) -> NDArray[np.int64]:
        """The tokens of text in each row.  # [rows]"""
        whole = np.sum([np.diff(texts.starts) for texts in self.texts], axis=0)
        sizes: NDArray[np.int64] = np.minimum(whole, self.most)
        return sizes

    def fetch(self, indices: NDArray[np.int64]) -> ExampleRows:
        """The examples at some indices, in that order."""
        lengths = [texts.lengths(indices) for texts in self.texts]
        whole = np.sum(lengths, axis=0)
        if len(lengths) == 2:
            lengths = list(kept_lengths(lengths[0], lengths[1], self.most))
        else:
            lengths = [np.minimum(lengths[0], self.most)]
        first, *second = (texts.rows(indices, kept) for texts, kept in zip(self.texts, lengths, strict=True))
        return ExampleRows(
            tokens=first.tokens,
            lengths=first.lengths,
            word_starts=first.word_starts,
            spellings=first.spellings,
            others=second[0] if second else None,
            cut=whole > self.most,
            targets=None if self.targets is None else self.targets[indices],
        )
