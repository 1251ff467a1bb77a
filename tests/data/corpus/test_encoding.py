"""Documents as tokens: against the whole document encoded at once, and against a brute-force cut."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plmtrain.data.corpus.encoding import Encoded, Passage, content_hash, running_text, segments, token_type
from plmtrain.data.corpus.encoding import encode as encode_passages
from plmtrain.settings.tokenizer import TokenizerSettings
from plmtrain.text.sentences import boundaries
from plmtrain.text.tokenizer import Tokenizer
from plmtrain.text.tokenizer_training import train

TEXTS = (
    'The ship left the harbour at dawn. Nobody saw it go!  Was that strange? Perhaps\nit was; "perhaps" it was not.\n\nA second '
    "paragraph, shorter than the first: 3.5 metres, say. Mr. Smith agreed.",
    "  It opened with a space, and\tused tabs.\nÉtait-ce l'été? Ja, natürlich. 日本語の文。もう一つの文。",
    "One line",
)


def encode(tokenizer: Tokenizer, texts: Sequence[str]) -> Encoded:
    return encode_passages(tokenizer, [Passage(text) for text in texts])


KINDS = {"bert": "wordpiece", "roberta": "byte_bpe", "albert": "unigram", "gpt1": "bpe", "gpt2": "byte_bpe", "t5": "unigram"}


def make(family: str) -> Tokenizer:
    settings = TokenizerSettings.model_validate({"type": KINDS[family], "family": family, "vocab_size": 450, "lowercase": False})
    return train(iter(TEXTS * 3), settings)


@pytest.fixture(scope="module", params=sorted(KINDS))
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    return make(request.param)


def split(encoded: Encoded) -> list[list[int]]:
    ends = np.cumsum(encoded.documents)
    return [encoded.tokens[end - length : end].tolist() for end, length in zip(ends, encoded.documents, strict=True)]


class TestEncode:
    def test_as_the_whole_document(self, tokenizer: Tokenizer) -> None:
        """What sentence by sentence gives is what the whole running text gives: no space lost, none added."""
        texts = [*TEXTS[:1], *TEXTS[2:]]  # without the ideographs, before which a sentence's start is a word's
        encoded = encode(tokenizer, texts)
        mark = tokenizer.vocabulary.document_end
        for text, tokens in zip(texts, split(encoded), strict=True):
            ((whole, _),) = tokenizer.encode([running_text(text, tokenizer.family)])
            assert tokens == [*whole.tolist(), mark]

    def test_sentences_stand_where_they_begin(self, tokenizer: Tokenizer) -> None:
        encoded = encode(tokenizer, TEXTS)
        assert encoded.sentence_counts.tolist() == [len(boundaries(text)) for text in TEXTS]
        ends = np.cumsum(encoded.sentences)
        parts = [encoded.tokens[end - length : end] for end, length in zip(ends, encoded.sentences, strict=True)]
        expected = [sentence for text in TEXTS for sentence in segments(text, tokenizer.family)]
        for part, sentence in zip(parts, expected, strict=True):
            ((alone, _),) = tokenizer.encode([sentence])
            assert part.tolist()[: len(alone)] == alone.tolist()
            assert len(part) - len(alone) in (0, 1)

    def test_words(self, tokenizer: Tokenizer) -> None:
        encoded = encode(tokenizer, ["The harbour", "The ship"])
        assert encoded.word_starts[0]
        assert encoded.word_starts[np.cumsum(encoded.documents) - 1].all(), "end marks begin words"
        ((_, words),) = tokenizer.encode(["The harbour"])
        assert encoded.word_starts[: len(words)].tolist() == words.tolist()

    def test_marks_end_documents_and_stand_nowhere_else(self, tokenizer: Tokenizer) -> None:
        name = tokenizer.pieces([tokenizer.vocabulary.document_end])[0]
        encoded = encode(tokenizer, [*TEXTS, f"A text that says {name} of itself."])
        assert (
            np.flatnonzero(encoded.tokens == tokenizer.vocabulary.document_end).tolist()
            == (np.cumsum(encoded.documents) - 1).tolist()
        )

    def test_documents_without_tokens_leave_no_trace(self, tokenizer: Tokenizer) -> None:
        blank, filled = encode(tokenizer, ["", " \n ", "\t"]), encode(tokenizer, [*TEXTS])
        assert len(blank.tokens) == len(blank.documents) == len(blank.hashes) == 0
        mixed = encode(tokenizer, ["", TEXTS[0], " \n ", *TEXTS[1:]])
        for name in ("tokens", "word_starts", "sentences", "documents", "sentence_counts", "hashes"):
            assert getattr(mixed, name).tolist() == getattr(filled, name).tolist()


@given(st.text(alphabet="ab .!?\n。é\t", max_size=60))
def test_segments_join_to_the_running_text(text: str) -> None:
    assert "".join(segments(text, "gpt2")) == (text if text.strip() else "")
    assert "".join(segments(text, "roberta")) == running_text(text, "roberta")
    assert running_text(text, "bert") == " ".join(text.split())


def test_content_hash() -> None:
    assert content_hash("two words") == content_hash(" two\n words ")
    assert len({content_hash(f"document {number}") for number in range(1000)} | {content_hash("twowords")}) == 1001


@pytest.mark.parametrize(("size", "bits"), [(2, 8), (256, 8), (257, 16), (65536, 16), (65537, 32)])
def test_smallest_type(size: int, bits: int) -> None:
    kind = token_type(size)
    assert (kind.kind, kind.itemsize * 8) == ("u", bits)
    assert np.iinfo(kind).max >= size - 1


def documents_of(parts: list[list[int]]) -> Encoded:
    """Documents of sentences of so many tokens, numbered throughout; 0 is the end mark."""
    counts = [sum(part) + 1 for part in parts]
    tokens = np.arange(1, sum(counts) + 1, dtype=np.uint16)
    tokens[np.cumsum(counts) - 1] = 0
    sentences = [length + (i == len(part) - 1) for part in parts for i, length in enumerate(part)]
    return Encoded(
        tokens=tokens,
        word_starts=tokens % 3 == 0,
        sentences=np.array(sentences),
        documents=np.array(counts),
        sentence_counts=np.array([len(part) for part in parts]),
        hashes=np.arange(100, 100 + len(parts), dtype=np.uint64),
        keys=np.arange(100, 100 + len(parts), dtype=np.uint64),
        languages=np.zeros(len(parts), np.uint8),
        translations=np.zeros(len(parts), np.bool_),
        unknown_places=np.empty(0, np.int64),
        unknown_spellings=np.empty(0, np.uint8),
    )


DOCUMENTS = st.lists(st.lists(st.integers(1, 4), min_size=1, max_size=4), min_size=1, max_size=6)


@given(DOCUMENTS, st.data())
def test_select_keeps_whole_documents(parts: list[list[int]], data: st.DataObject) -> None:
    keep = data.draw(st.lists(st.booleans(), min_size=len(parts), max_size=len(parts)))
    chosen = documents_of(parts).select(np.array(keep))
    kept = [part for part, wanted in zip(parts, keep, strict=True) if wanted]
    pieces = [document for document, wanted in zip(split(documents_of(parts)), keep, strict=True) if wanted]
    assert split(chosen) == pieces
    assert chosen.sentence_counts.tolist() == [len(part) for part in kept]
    assert chosen.sentences.tolist() == [length + (i == len(part) - 1) for part in kept for i, length in enumerate(part)]
    assert len(chosen.word_starts) == len(chosen.tokens)
    assert chosen.hashes.tolist() == [100 + i for i, wanted in enumerate(keep) if wanted]


@given(DOCUMENTS, st.data())
def test_cut_is_two_documents(parts: list[list[int]], data: st.DataObject) -> None:
    whole = documents_of(parts)
    ends = [int(end) for end in np.cumsum(whole.documents)]
    starts = [0, *ends[:-1]]
    position = data.draw(st.sampled_from([place for place in range(ends[-1]) if place not in starts]))
    halves = whole.cut(position, 0)
    index = max(i for i, start in enumerate(starts) if start < position)
    documents = split(whole)
    inside = position - starts[index]
    expected = [*documents[:index], [*documents[index][:inside], 0], documents[index][inside:], *documents[index + 1 :]]
    assert split(halves) == expected
    assert halves.sentences.sum() == halves.documents.sum() == len(halves.tokens) == len(halves.word_starts)
    assert halves.sentence_counts.sum() == len(halves.sentences)
    assert (halves.sentences > 0).all()
    bounds = set(np.cumsum(whole.sentences).tolist())
    moved = {bound + (bound >= position) for bound in bounds} | {position + 1}
    assert set(np.cumsum(halves.sentences).tolist()) == moved
    assert halves.hashes.tolist() == [*whole.hashes[: index + 1], ~whole.hashes[index], *whole.hashes[index + 1 :]]
    assert len(set(halves.hashes.tolist())) == len(halves.hashes)
