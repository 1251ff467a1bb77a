"""Text as whole words: the vocabulary, the marks of sentences, and the spellings of words that the vocabulary lacks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from plmtrain.data.corpus.encoding import Encoded, Passage, encode
from plmtrain.data.corpus.prepare import prepare
from plmtrain.data.corpus.store import Store
from plmtrain.data.tables.examples import Texts
from plmtrain.settings.data import DataSettings
from plmtrain.settings.tokenizer import TokenizerSettings
from plmtrain.text.spelling import MOST_BYTES, characters, word_bytes
from plmtrain.text.tokenizer import Tokenizer
from plmtrain.text.tokenizer_training import train

TEXT = "He didn't go (3.5 km) to the U.S. -- the café. <S> the <UNK> of the 7-6!"


def tokenizer(kind: str = "word", size: int = 40, texts: tuple[str, ...] = (TEXT, "the the of")) -> Tokenizer:
    return train(texts, TokenizerSettings(type=kind, family="elmo", vocab_size=size, lowercase=False))


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("word", "He didn't go ( 3.5 km ) to the U.S . - - the café . < S > the < UNK > of the 7-6 !".split()),
        ("spaced_word", TEXT.split()),
    ],
)
def test_text_is_cut_into_words(kind: str, words: list[str], tmp_path: Path) -> None:
    made = tokenizer(kind)
    assert made.words(TEXT) == words
    assert made.vocabulary.words[:4] == ("</S>", "<S>", "<UNK>", "the")  # the most frequent first
    made.save(tmp_path)
    again = Tokenizer.load(tmp_path)
    assert (again.digest, again.family) == (made.digest, "elmo")
    ((ids, starts),) = again.encode([TEXT])
    assert starts.all()
    named = {made.vocabulary["bos"], made.vocabulary["eos"]}
    assert not named & set(ids.tolist())  # no text is taken for a mark
    assert [word for word, one in zip(words, ids, strict=True) if one == 2] == again.unknown_words([TEXT])[0]
    assert [made.vocabulary.words[one] for one in ids if one != 2] == [word for word in words if word not in ("<S>", "<UNK>")]


def test_the_smaller_vocabulary_is_the_beginning_of_the_larger() -> None:
    assert tokenizer(size=7).vocabulary.words == tokenizer().vocabulary.words[:7]


def spelt(encoded: Encoded, made: Tokenizer) -> list[str]:
    """The words of an encoded text, unknown ones by their spellings."""
    words = [made.vocabulary.words[token] for token in encoded.tokens]
    spellings = encoded.unknown_spellings.reshape(-1, MOST_BYTES)
    for place, letters in zip(encoded.unknown_places, spellings, strict=True):
        assert words[place] == "<UNK>"
        words[place] = bytes(letters).rstrip(b"\0").decode()
    return words


def test_sentences_stand_between_marks_and_unknown_words_keep_their_spelling() -> None:
    made = tokenizer()
    passages = [Passage("The mill ran. It stood."), Passage("the of"), Passage("Unknown café <UNK> stays")]
    encoded = encode(made, passages)
    documents = [
        "<S> The mill ran . </S> <S> It stood . </S>".split(),
        "<S> the of </S>".split(),
        "<S> Unknown café < UNK > stays </S>".split(),
    ]
    assert spelt(encoded, made) == [word for words in documents for word in words]
    assert encoded.documents.tolist() == [len(words) for words in documents]
    assert encoded.sentences.tolist() == [6, 5, 4, 8]
    kept = encoded.select(np.array([True, False, True]))
    assert spelt(kept, made) == documents[0] + documents[2]
    cut = encoded.cut(6, made.vocabulary["eos"])
    assert spelt(cut, made) == [*documents[0][:6], "</S>", *documents[0][6:], *documents[1], *documents[2]]


def test_a_prepared_text_has_the_spellings(tmp_path: Path) -> None:
    """Of both splits, over several chunks; marks of sentences count for no frequency."""
    lines = [f"the word{number} of rare{number % 5} ." for number in range(300)]
    (tmp_path / "text.txt").write_text("\n".join(lines))
    made = tokenizer(size=9, texts=("the of . the of",))
    data = DataSettings(
        name="text",
        type="text",
        files=(str(tmp_path / "text.txt"),),
        document_per="line",
        validation_fraction=0.2,
        prepared_dir=str(tmp_path / "prepared"),
        processes=1,
    )
    folder = prepare(data, made, minimum_validation_tokens=10, on_update=lambda moment: None)
    read = []
    for split in ("train", "validation"):
        store = Store.open(folder, split)
        words = np.array([made.vocabulary.words[token] for token in store.tokens], object)
        letters = store.unknown.at(np.arange(len(store)))
        unknown = letters.any(axis=1)
        assert (unknown == (words == "<UNK>")).all()
        words[unknown] = [bytes(each).rstrip(b"\0").decode() for each in letters[unknown]]
        read += [" ".join(words[first + 1 : end - 1]) for first, end in zip(store.documents, store.documents[1:], strict=False)]
    assert sorted(read) == sorted(lines)
    counts = np.load(folder / "train" / "frequencies.npy")
    assert counts[[made.vocabulary["bos"], made.vocabulary["eos"]]].tolist() == [0, 0]


def test_rows_of_examples_have_the_spellings() -> None:
    made = tokenizer()
    texts = Texts.encode(["the new mill", "of", "Old of"], made)
    rows = texts.rows(np.array([2, 0]), np.array([2, 2]))
    expected = word_bytes(["Old", "", "", "new"]).reshape(2, 2, -1)
    np.testing.assert_array_equal(rows.spellings, expected)


def test_characters_are_those_of_the_authors_code() -> None:
    """bilm/data.py, UnicodeCharsVocabulary: 258, the bytes, 259, and 260 to the end; a long word is cut to 48 bytes."""
    words = ["a", "é물", "", "x" * 60]
    made = characters(word_bytes(words), 50).tolist()
    for word, spelling in zip(words, made, strict=True):
        letters = list(word.encode())[:48]
        assert spelling == [258, *letters, 259, *[260] * (48 - len(letters))]
    assert characters(word_bytes(["abcdef"]), 5).tolist() == [[258, 97, 98, 99, 259]]
