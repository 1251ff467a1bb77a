"""Texts with a label for each word, as rows; longer texts are read in windows that overlap.

The first token of a word is labelled, and no other (Devlin et al. 2019, section 5.3). Each word is labelled once: by the window
in which it is farthest from both ends.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from plmtrain.data.corpus.encoding import running_text
from plmtrain.data.rows.rows import Rows
from plmtrain.data.rows.unknown_words import UnknownWords
from plmtrain.data.rows.windows import windows
from plmtrain.errors import DataError
from plmtrain.stopping import safe_point
from plmtrain.text.character_places import whole_characters
from plmtrain.text.spelling import word_bytes

if TYPE_CHECKING:
    from plmtrain.text.tokenizer import Tokenizer

_AT_ONCE = 1024
"""Words that are encoded between two looks for a signal."""


@dataclass(frozen=True, kw_only=True)
class TaggedRows(Rows):
    """Rows with the words that are labelled in them.

    Args:
        owners: [rows] the text of each row, by its index.
        asked: [rows, length] whether a token is the first one of a word that is labelled in this row.
        labels: [rows, length] the number of the right label of each such token; None if they are unknown.
        characters: [rows, length] how many characters have the answer for such a token; None where words are labelled.
    """

    owners: NDArray[np.int64]
    asked: NDArray[np.bool_]
    labels: NDArray[np.int64] | None = None
    characters: NDArray[np.int64] | None = None


@dataclass(frozen=True)
class TaggedTexts:
    """Encoded texts, one behind the other.

    Args:
        tokens: [tokens] ids.
        first: [tokens] whether a token is the first one of a word.
        labels: [tokens] the number of the label of a word's first token; None if they are unknown.
        starts: [texts + 1] the beginning of each text, and the end of the last one.
        references: the right labels of each text.
        overlap: the tokens that two windows have in common.
        unknown: the words that a vocabulary of whole words lacks; None where tokens are not whole words.
        characters: [tokens] as in ``TaggedRows``.
    """

    tokens: NDArray[np.int64]
    first: NDArray[np.bool_]
    labels: NDArray[np.int64] | None
    starts: NDArray[np.int64]
    references: Sequence[Any]
    overlap: int
    unknown: UnknownWords | None = None
    characters: NDArray[np.int64] | None = None

    @classmethod
    def encode(
        cls,
        texts: Sequence[Sequence[str]],
        references: Sequence[Sequence[str]] | None,
        numbers: Mapping[str, int],
        tokenizer: Tokenizer,
        overlap: int,
    ) -> TaggedTexts:
        """Encode texts that are given as words.

        Args:
            texts: the words of each text.
            references: the labels of the words of each text; None if they are unknown.
            numbers: the number of each label.
            tokenizer: encodes the words.
            overlap: as for the class.
        """
        pieces = _pieces(texts, tokenizer)
        spaced = tokenizer.type == "byte_bpe"
        parts: list[NDArray[np.int64]] = []
        sizes: list[int] = []
        starts = np.zeros(len(texts) + 1, np.int64)
        for number, words in enumerate(texts):
            own = [pieces[f" {word}" if spaced and place else word] for place, word in enumerate(words)]
            parts += own
            sizes += [len(part) for part in own]
            starts[number + 1] = starts[number] + sum(len(part) for part in own)
        tokens = np.concatenate(parts) if parts else np.zeros(0, np.int64)
        begins = np.cumsum([0, *sizes])[:-1].astype(np.int64)
        first = np.zeros(len(tokens), np.bool_)
        first[begins] = True
        labels = None
        if references is not None:
            labels = np.zeros(len(tokens), np.int64)
            labels[begins] = [numbers[label] for reference in references for label in reference]
        unknown = _unknown([" ".join(words) for words in texts], tokens, tokenizer)
        return cls(tokens, first, labels, starts, references or (), overlap, unknown)

    @classmethod
    def of_characters(
        cls,
        texts: Sequence[str],
        references: Sequence[Sequence[str]] | None,
        numbers: Mapping[str, int],
        tokenizer: Tokenizer,
        overlap: int,
    ) -> TaggedTexts:
        """Encode texts whose characters have labels: those of a token have the answer for it, up to the next token.

        Args:
            texts: the texts.
            references: the labels of the characters of each text but those of white space; None if they are unknown.
            numbers, tokenizer, overlap: as for ``encode``.
        """
        parts, counts = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for first in range(0, len(texts), _AT_ONCE):
            safe_point()
            running = [running_text(text, tokenizer.family) for text in texts[first : first + _AT_ONCE]]
            for text, (ids, _), places in zip(running, tokenizer.encode(running), tokenizer.places(running), strict=True):
                own, count = _of_text(text, ids.astype(np.int64), whole_characters(text, places), tokenizer)
                parts.append(own)
                counts.append(count)
        characters = np.concatenate(counts)
        starts = np.cumsum([0, *map(len, parts[1:])]).astype(np.int64)
        labels = None
        if references is not None:
            labels = np.zeros(len(characters), np.int64)
            given = np.array([numbers[label] for reference in references for label in reference], np.int64)
            labels[characters > 0] = given[(np.cumsum(characters) - characters)[characters > 0]]
        tokens = np.concatenate(parts)
        unknown = _unknown(texts, tokens, tokenizer)
        return cls(tokens, characters > 0, labels, starts, references or (), overlap, unknown, characters)

    def rows(self, most: int) -> TaggedExamples:
        """Return a row for each text, or several for texts of more than ``most`` tokens."""
        return TaggedExamples(self, most)

    def sizes(self) -> NDArray[np.int64]:
        """Return the number of tokens of each text.  # [texts]"""
        return np.diff(self.starts)

    def cutting(self, length: int) -> str:
        """Return in words which share of the texts is read in windows."""
        share = float(np.mean(self.sizes() + 2 > length))
        return f"{share:.1%} of the texts are longer than {length} tokens, and read in windows"


def _of_text(
    text: str, ids: NDArray[np.int64], places: NDArray[np.int64], tokenizer: Tokenizer
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the tokens of a text, and how many of its characters have the answer for each.

    Args:
        text: the text.
        ids, places: [tokens], [tokens, 2] its tokens and their characters.
        tokenizer: has the token for a text without any.
    """
    solid = np.flatnonzero([not letter.isspace() for letter in text])
    shown = np.flatnonzero(places[:, 0] < places[:, 1])
    begins = np.searchsorted(solid, places[shown, 0])  # the number of the first character of each, white space not counted
    # A character of several tokens has the answer for the first one.
    beyond = begins > np.maximum.accumulate(np.append(-1, begins))[:-1]
    shown, edges = shown[beyond], begins[beyond]
    if not len(shown):
        if (unknown := tokenizer.vocabulary.roles.get("unk")) is None:
            raise DataError(f"the text {text[:60]!r} has no token", "the tokenizer", "use one that encodes all characters")
        return np.array([unknown], np.int64), np.array([len(solid)], np.int64)
    counts = np.zeros(len(ids), np.int64)
    edges[0] = 0  # characters before the first token have its answer
    counts[shown] = np.diff(np.append(edges, len(solid)))
    return ids, counts


def _unknown(texts: Sequence[str], tokens: NDArray[np.int64], tokenizer: Tokenizer) -> UnknownWords | None:
    """Return the words that a vocabulary of whole words lacks; None where tokens are not whole words."""
    if not tokenizer.vocabulary.words:
        return None
    running = [running_text(text, tokenizer.family) for text in texts]
    spelt = [word for words in tokenizer.unknown_words(running) for word in words]
    return UnknownWords(np.flatnonzero(tokens == tokenizer.vocabulary["unk"]), word_bytes(spelt))


def _pieces(texts: Sequence[Sequence[str]], tokenizer: Tokenizer) -> dict[str, NDArray[np.int64]]:
    """Return the tokens of each different word; in byte-level vocabularies, of a word behind a space too.

    All tokenizers cut text at white space, so that words alone have the tokens that they have in their text.
    """
    words = {word: None for text in texts for word in text}
    if tokenizer.type == "byte_bpe":
        words |= {f" {word}": None for text in texts for word in text[1:]}
    listed, pieces = list(words), {}
    unknown = tokenizer.vocabulary.roles.get("unk")
    for start in range(0, len(listed), _AT_ONCE):
        safe_point()
        some = listed[start : start + _AT_ONCE]
        given = [(" " if word[0] == " " else "") + running_text(word.strip(), tokenizer.family) for word in some]
        for word, (ids, _) in zip(some, tokenizer.encode(given), strict=True):
            if not len(ids) and unknown is None:
                raise DataError(f"the word {word!r} has no token", "the tokenizer", "use one that encodes all characters")
            pieces[word] = ids if len(ids) else np.array([unknown], np.int64)
    return pieces


class TaggedExamples:
    """A source of rows of texts, one row each, or several windows.

    Args:
        texts: the texts.
        most: tokens of text in a row.
    """

    def __init__(self, texts: TaggedTexts, most: int) -> None:
        self._texts, self.references = texts, texts.references
        of_texts = [windows(size, most, texts.overlap) for size in texts.sizes().tolist()]
        self.owners = np.repeat(np.arange(len(of_texts)), [len(each) for each in of_texts])
        spans = np.concatenate(of_texts) if of_texts else np.zeros((0, 4), np.int64)  # [rows, 4]
        self._begins, self.sizes, self._asked_from, self._asked_to = spans.T + np.stack(
            [texts.starts[self.owners], np.zeros(len(spans), np.int64), *[texts.starts[self.owners]] * 2]
        )

    def __len__(self) -> int:
        return len(self.owners)

    def fetch(self, indices: NDArray[np.int64]) -> TaggedRows:
        """Return the rows at some indices, in that order."""
        lengths, begins = self.sizes[indices], self._begins[indices]
        columns = np.arange(lengths.max(initial=0))
        real = columns < lengths[:, None]
        places = np.where(real, begins[:, None] + columns, 0)
        tokens, first = self._texts.tokens, self._texts.first
        own = (places >= self._asked_from[indices][:, None]) & (places < self._asked_to[indices][:, None])
        labels = self._texts.labels
        return TaggedRows(
            tokens=np.where(real, tokens[places], 0),
            lengths=lengths,
            word_starts=real & first[places],
            owners=self.owners[indices],
            asked=real & own & first[places],
            labels=None if labels is None else labels[places],
            characters=None if self._texts.characters is None else self._texts.characters[places],
            spellings=None if self._texts.unknown is None else self._texts.unknown.at(places),
        )
