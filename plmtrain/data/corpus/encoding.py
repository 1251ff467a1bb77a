"""Documents as tokens, with the starts of their sentences and words.

A document is encoded sentence by sentence, so that sentence starts are exact token positions. A sentence keeps the whitespace
before it: a byte-level BPE and a Unigram tokenizer then give the same tokens as for the whole document, since neither has a
token that extends from a word into the space after it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from plmtrain.families import TOKENIZER_FAMILIES
from plmtrain.text.sentences import boundaries
from plmtrain.text.spelling import MOST_BYTES, word_bytes

if TYPE_CHECKING:
    from plmtrain.text.tokenizer import Tokenizer


_Marks = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]


class Passage(NamedTuple):
    """A document that is to be encoded.

    Args:
        text: the text of the document.
        kin: the text that decides whether it is held out, if that is not its own: translations of one text stay together.
        language: the number of its language; 0 if there is only one.
        translates: whether it is the translation of the passage before it.
    """

    text: str
    kin: str | None = None
    language: int = 0
    translates: bool = False

    @property
    def key(self) -> int:
        """The hash that decides whether it is held out."""
        return content_hash(self.text if self.kin is None else self.kin)


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """Some documents, one after another.

    Args:
        tokens: [tokens] each document followed by its end mark, in the smallest unsigned type.
        word_starts: [tokens] whether a token begins a word (end marks do).
        sentences: [sentences] the number of tokens of each sentence; an end mark belongs to the sentence before it.
        documents: [documents] the number of tokens of each document.
        sentence_counts: [documents] the number of sentences of each document.
        hashes: [documents] the hash of the text, apart from its whitespace.
        keys: [documents] the hash that decides whether a document is held out.
        languages: [documents] the number of each document's language.
        translations: [documents] whether a document is the translation of the one before it.
        unknown_places: [unknown words] the places of words that a vocabulary of whole words lacks.
        unknown_spellings: [unknown words * bytes] their bytes.
    """

    tokens: NDArray[np.unsignedinteger]
    word_starts: NDArray[np.bool_]
    sentences: NDArray[np.int64]
    documents: NDArray[np.int64]
    sentence_counts: NDArray[np.int64]
    hashes: NDArray[np.uint64]
    keys: NDArray[np.uint64]
    languages: NDArray[np.uint8]
    translations: NDArray[np.bool_]
    unknown_places: NDArray[np.int64]
    unknown_spellings: NDArray[np.uint8]

    def select(self, keep: NDArray[np.bool_]) -> Encoded:
        """Return only some of the documents.

        Args:
            keep: [documents] which documents to keep.
        """
        if keep.all():
            return self
        tokens, sentences = np.repeat(keep, self.documents), np.repeat(keep, self.sentence_counts)
        unknown = tokens[self.unknown_places]
        return Encoded(
            tokens=self.tokens[tokens],
            word_starts=self.word_starts[tokens],
            sentences=self.sentences[sentences],
            documents=self.documents[keep],
            sentence_counts=self.sentence_counts[keep],
            hashes=self.hashes[keep],
            keys=self.keys[keep],
            languages=self.languages[keep],
            translations=self.translations[keep],
            unknown_places=(np.cumsum(tokens) - 1)[self.unknown_places[unknown]],
            unknown_spellings=self.unknown_spellings.reshape(-1, MOST_BYTES)[unknown].reshape(-1),
        )

    def cut(self, position: int, end_mark: int) -> Encoded:
        """Cut the document at a token in two: the first part gets its own end mark, the second part its own hash.

        Args:
            position: the first token of the second part; within a document, and not its first token.
            end_mark: the document-end mark.
        """
        documents, sentences = _starts(self.documents), _starts(self.sentences)
        index = int(np.searchsorted(documents, position, side="right")) - 1
        assert documents[index] < position, "a document's first token cannot start its second part"

        def cut_starts(starts: NDArray[np.int64]) -> NDArray[np.int64]:
            return np.union1d(np.where(starts >= position, starts + 1, starts), [position + 1])

        documents, sentences = cut_starts(documents), cut_starts(sentences)
        return replace(
            self,
            tokens=np.insert(self.tokens, position, end_mark),
            word_starts=np.insert(self.word_starts, position, True),
            sentences=np.diff(sentences),
            documents=np.diff(documents),
            sentence_counts=np.diff(np.searchsorted(sentences, documents)),
            # Each part is a text of its own: with equal hashes they would count as one document on both sides of the split.
            hashes=np.insert(self.hashes, index + 1, ~self.hashes[index]),
            keys=np.insert(self.keys, index, self.keys[index]),
            languages=np.insert(self.languages, index, self.languages[index]),
            translations=np.insert(self.translations, index + 1, False),
            unknown_places=self.unknown_places + (self.unknown_places >= position),
        )


def _starts(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the start of each part, and the end of the last.  # [parts + 1]"""
    return np.concatenate([[0], np.cumsum(lengths)])


def content_hash(text: str) -> int:
    """Return a hash of 64 bits of a document's text, which does not depend on the kind of whitespace between its words."""
    words = " ".join(text.split()).encode(errors="surrogatepass")
    return int.from_bytes(hashlib.blake2b(words, digest_size=8, person=b"plmtrain doc").digest(), "little")


def running_text(text: str, family: str) -> str:
    """Return a document as a family's tokenizer reads it: on one line, unless the family keeps line ends."""
    return text if TOKENIZER_FAMILIES[family].keeps_line_ends else " ".join(text.split())


def running_characters(text: str, family: str) -> NDArray[np.int64]:
    """Return for each character of the ``running_text`` its place in the text.  # [characters]"""
    if running_text(text, family) == text:
        return np.arange(len(text))
    words = [np.arange(*word.span()) for word in re.finditer(r"\S+", text)]
    # The space behind a word is the first character of the white space there.
    places = [np.append(word, word[-1] + 1) for word in words]
    return np.concatenate(places)[:-1] if places else np.zeros(0, np.int64)


def segments(text: str, family: str) -> list[str]:
    """Return a document's sentences, each with the whitespace before it; joined, they are the ``running_text``."""
    parts = [text[start:end] for start, end in pairwise([*boundaries(text), len(text)])]
    if TOKENIZER_FAMILIES[family].keeps_line_ends:
        return parts
    return [(" " if number and part[0].isspace() else "") + running_text(part, family) for number, part in enumerate(parts)]


def encode(tokenizer: Tokenizer, passages: Sequence[Passage]) -> Encoded:
    """Encode documents. A document without any token is omitted, together with its translation or its original.

    Args:
        tokenizer: the tokenizer; its ``sep`` token (or ``eos``, if it has none) marks the end of a document.
        passages: the documents.
    """
    parts = [segments(passage.text, tokenizer.family) for passage in passages]
    texts = [sentence for document in parts for sentence in document]
    ids, words, ends = tokenizer.encode_joined(texts)
    sizes = np.diff(ends, prepend=0)  # [sentences]
    owners = np.repeat(np.arange(len(parts)), [len(document) for document in parts])  # [sentences]
    stays = _whole(passages, np.bincount(owners[sizes > 0], minlength=len(parts)) > 0)  # [documents]
    filled = (sizes > 0) & stays[owners]
    inside, owners = np.repeat(filled, sizes), owners[filled]
    whole, starts, sentences = _with_marks(
        ids[inside], words[inside], sizes[filled], np.diff(owners, append=-1) != 0, _marks(tokenizer)
    )
    kept = np.flatnonzero(stays)
    counts = np.bincount(owners, minlength=len(parts))[kept]
    documents = np.diff(np.cumsum(sentences)[np.cumsum(counts) - 1], prepend=0)
    unknown = _unknown(tokenizer, texts, filled)
    places = np.flatnonzero(whole == tokenizer.vocabulary["unk"]) if unknown else np.empty(0, np.int64)
    assert len(places) == len(unknown), "every unknown word has a spelling"
    chosen = [passages[index] for index in kept.tolist()]
    hashes = np.array([content_hash(passage.text) for passage in chosen], np.uint64)
    keys = hashes.copy()
    keys[[passage.kin is not None for passage in chosen]] = [content_hash(p.kin) for p in chosen if p.kin is not None]
    return Encoded(
        tokens=whole.astype(token_type(tokenizer.vocabulary.size)),
        word_starts=starts,
        sentences=sentences,
        documents=documents,
        sentence_counts=counts,
        hashes=hashes,
        keys=keys,
        languages=np.array([passage.language for passage in chosen], np.uint8),
        translations=np.array([passage.translates for passage in chosen], np.bool_),
        unknown_places=places,
        unknown_spellings=word_bytes(unknown).reshape(-1),
    )


def _with_marks(
    ids: NDArray[np.int64], words: NDArray[np.bool_], sizes: NDArray[np.int64], closing: NDArray[np.bool_], marks: _Marks
) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.int64]]:
    """Put the marks around sentences.

    Args:
        ids, words: [tokens] of all sentences.
        sizes: [sentences] the tokens of each.
        closing: [sentences] whether it is the last of its document.
        marks: those before each sentence, those after each but the last, and those after the last.

    Returns:
        The tokens and the starts of words with the marks, and the number of tokens of each sentence with its own.
    """
    before, between, after = marks
    lengths = len(before) + sizes + np.where(closing, len(after), len(between))
    begins = np.cumsum(lengths) - lengths
    behind = begins + len(before) + sizes
    whole, starts = np.empty(int(lengths.sum()), np.int64), np.ones(int(lengths.sum()), np.bool_)
    places = np.arange(len(ids)) + np.repeat(behind - np.cumsum(sizes), sizes)
    whole[places], starts[places] = ids, words
    for firsts, some in ((begins, before), (behind[~closing], between), (behind[closing], after)):
        whole[firsts[:, None] + np.arange(len(some))] = some
    return whole, starts, lengths


def _marks(tokenizer: Tokenizer) -> _Marks:
    """Return the tokens before each sentence, those after each but the last, and those after the last."""
    vocabulary, none = tokenizer.vocabulary, np.empty(0, np.int64)
    if TOKENIZER_FAMILIES[tokenizer.family].marks_sentences:
        end = np.array([vocabulary["eos"]])
        return np.array([vocabulary["bos"]]), end, end
    return none, none, np.array([vocabulary.document_end])


def _unknown(tokenizer: Tokenizer, texts: Sequence[str], filled: NDArray[np.bool_]) -> list[str]:
    """Return the words of the sentences that stay which a vocabulary of whole words lacks."""
    if not tokenizer.vocabulary.words:
        return []
    chosen = [text for text, stays in zip(texts, filled.tolist(), strict=True) if stays]
    return [word for words in tokenizer.unknown_words(chosen) for word in words]


def _whole(passages: Sequence[Passage], filled: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which documents have tokens; of a document and its translation, both must have some.  # [documents]"""
    for index in [index for index, passage in enumerate(passages) if passage.translates]:
        if not (filled[index - 1] and filled[index]):
            filled[index - 1] = filled[index] = False
    return filled


def token_type(vocabulary_size: int) -> np.dtype[np.unsignedinteger]:
    """Return the smallest unsigned type that holds every token."""
    return np.dtype(np.min_scalar_type(vocabulary_size - 1))
