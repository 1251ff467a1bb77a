"""Counting words stretch by stretch against cutting whole texts."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plmtrain.settings.tokenizer import TokenizerSettings
from plmtrain.text import pipelines, word_counts
from plmtrain.text.word_counts import as_texts, count_words

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
    assert count_words(texts, normalizer, pre_tokenizer, keeps_space=False) == expected


@given(texts=st.lists(st.text("aB1 ,.'\n\t한字", max_size=30), max_size=4))
@settings(max_examples=100, deadline=None)
def test_bytes_are_cut_as_in_whole_texts(texts: list[str]) -> None:
    chosen = TokenizerSettings(type="byte_bpe", family="gpt2", vocab_size=300, lowercase=False)
    pre_tokenizer = pipelines.pre_tokenizer(chosen)
    expected = Counter(word for text in texts for word, _ in pre_tokenizer.pre_tokenize_str(text))
    assert count_words(texts, None, pre_tokenizer, keeps_space=True) == expected


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
