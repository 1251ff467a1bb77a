"""Counting words stretch by stretch against cutting whole texts."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plmtrain.settings.tokenizer import TokenizerSettings
from plmtrain.text import pipelines, word_counts
from plmtrain.text.tokenizer_training import train
from plmtrain.text.word_counts import LONGEST_WORD, as_texts, count_words

TEXT = st.text(st.sampled_from("aB1é ,.'\n\t한字の\u00a0e\u0301½_"), max_size=30)


@pytest.mark.parametrize(
    ("type", "lowercase"), [("wordpiece", True), ("wordpiece", False), ("unigram", True), ("unigram", False)]
)
@given(texts=st.lists(TEXT, max_size=4))
@settings(max_examples=60, deadline=None)
def test_words_are_those_of_the_whole_text(type: str, lowercase: bool, texts: list[str]) -> None:
    chosen = TokenizerSettings(type=type, family="bert", vocab_size=100, lowercase=lowercase)
    normalizer, pre_tokenizer = pipelines.normalizer(chosen), pipelines.pre_tokenizer(chosen)
    expected = Counter(word for text in texts for word, _ in pre_tokenizer.pre_tokenize_str(normalizer.normalize_str(text)))
    assert count_words(texts, normalizer, pre_tokenizer, keeps_space=False).words == expected


@given(texts=st.lists(st.text("aB1 ,.'\n\t한字", max_size=30), max_size=4))
@settings(max_examples=100, deadline=None)
def test_bytes_are_cut_as_in_whole_texts(texts: list[str]) -> None:
    chosen = TokenizerSettings(type="byte_bpe", family="gpt2", vocab_size=300, lowercase=False)
    pre_tokenizer = pipelines.pre_tokenizer(chosen)
    expected = Counter(word for text in texts for word, _ in pre_tokenizer.pre_tokenize_str(text))
    assert count_words(texts, None, pre_tokenizer, keeps_space=True).words == expected


def test_memory_is_given_back_on_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = TokenizerSettings(type="wordpiece", family="bert", vocab_size=100, lowercase=True)
    texts = [f"word{number % 50}, and more" for number in range(200)]
    pipeline = pipelines.normalizer(chosen), pipelines.pre_tokenizer(chosen)
    whole = count_words(texts, *pipeline, keeps_space=False)
    monkeypatch.setattr(word_counts, "_STRETCHES_HELD", 7)
    assert count_words(texts, *pipeline, keeps_space=False) == whole


def test_texts_hold_each_word_as_often_as_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = {"b": 7, "a": 100_000, "long": 3}
    monkeypatch.setattr(word_counts, "_FED_AT_ONCE", 1000)
    parts = list(as_texts(counts))
    assert Counter(" ".join(parts).split()) == counts
    assert max(map(len, parts)) < 3000
    monkeypatch.setattr(word_counts, "_WORDS_FED", 1000)
    scaled = Counter(" ".join(as_texts(counts)).split())
    assert scaled == {"a": 999}


SENTENCE = "天地玄黄宇宙洪荒日月盈昃辰宿列张寒来暑往秋收冬藏。"
CHINESE = ["".join(SENTENCE[shift:-1] + SENTENCE[:shift] + "。" for shift in range(20)) for _ in range(6)]


@pytest.mark.parametrize(("type", "family"), [("wordpiece", "bert"), ("unigram", "albert"), ("byte_bpe", "roberta")])
def test_text_without_spaces_is_trained_on(type: str, family: str) -> None:
    """A paragraph a line, 500 characters without a space: nothing is left out, and nothing is unknown."""
    assert min(map(len, CHINESE)) > LONGEST_WORD
    said: list[str] = []
    settings = TokenizerSettings(type=type, family=family, vocab_size=400, lowercase=False)
    tokenizer = train(iter(CHINESE), settings, said.append)
    assert said == []
    ((ids, _),) = tokenizer.encode([SENTENCE])
    assert tokenizer.vocabulary["unk"] not in ids
    assert tokenizer.decode(ids).replace(" ", "") == SENTENCE


def test_long_words_are_cut_after_punctuation_and_nothing_is_lost() -> None:
    chosen = TokenizerSettings(type="unigram", family="t5", vocab_size=100, lowercase=False)
    counts = count_words(CHINESE[:1], pipelines.normalizer(chosen), pipelines.pre_tokenizer(chosen), keeps_space=False)
    assert (counts.left_out, counts.characters) == (0, len(CHINESE[0]) + 1)
    assert sum(len(word) * count for word, count in counts.words.items()) == counts.characters
    assert max(map(len, counts.words)) <= LONGEST_WORD
    assert all(word.endswith("。") for word in counts.words)


@pytest.mark.parametrize("kind", ["wordpiece", "unigram"])
def test_data_among_words_are_left_out_and_told(kind: str) -> None:
    said: list[str] = []
    chosen = TokenizerSettings(type=kind, family="bert", vocab_size=100, lowercase=False)
    train(["a small town by the river " * 40 + "x" * 1000], chosen, said.append)
    (line,) = said
    words = 40 * len("asmalltownbytheriver") + (240 if kind == "unigram" else 0)  # with the sign for a space before each
    assert line.startswith(f"{(1000 + (kind == 'unigram')) / (1000 + (kind == 'unigram') + words):.2%} of the text")


def test_a_million_characters_in_one_word_take_no_time() -> None:
    chosen = TokenizerSettings(type="unigram", family="t5", vocab_size=100, lowercase=False)
    pipeline = pipelines.normalizer(chosen), pipelines.pre_tokenizer(chosen)
    for character in ("a", "字", "。", "\u0301", "😀"):
        counts = count_words([character * 10**6], *pipeline, keeps_space=False)
        assert counts.characters >= 10**6 - 1
