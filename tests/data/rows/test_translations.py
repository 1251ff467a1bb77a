"""Rows of parallel text: quotas to the row, languages, and every token of every document."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.parallel_store import END, corpus, store_of

from plmtrain.data.rows.quotas import shares
from plmtrain.data.rows.rows import Rows
from plmtrain.data.rows.translations import LanguageRows, Translations, in_proportion
from plmtrain.errors import DataError

TEXT = st.lists(st.integers(5, 60), min_size=1, max_size=9)
PAIRS = st.lists(st.tuples(st.integers(1, 2), TEXT, TEXT), min_size=1, max_size=12)
ALONE = st.lists(st.tuples(st.integers(0, 2), st.lists(st.integers(5, 60), min_size=1, max_size=30)), max_size=5)


def texts(rows: Rows) -> list[list[int]]:
    return [tokens[:length].tolist() for tokens, length in zip(rows.tokens, rows.lengths, strict=True)]


def everything(source: Translations) -> list[tuple[int, int | None, list[int], list[int]]]:
    """All rows of an epoch: the languages of both sides, and their tokens."""
    rows = source.fetch(np.arange(len(source)))
    assert isinstance(rows.others, LanguageRows)
    second = [
        language if text else None for language, text in zip(rows.others.languages.tolist(), texts(rows.others), strict=True)
    ]
    return list(zip(rows.languages.tolist(), second, texts(rows), texts(rows.others), strict=True))


@given(PAIRS, ALONE, st.floats(0, 1), st.sampled_from([0.0, 0.3, 0.5, 1.0]))
@settings(max_examples=60, deadline=None)
def test_rows_are_the_text(
    pairs: list[tuple[int, list[int], list[int]]], alone: list[tuple[int, list[int]]], exponent: float, share: float
) -> None:
    """Each pair whole, each language's text in order without a gap, and quotas as the shares say."""
    documents = [one for language, a, b in pairs for one in ((0, False, a), (language, True, b))]
    documents += [(language, False, text) for language, text in alone]
    source = Translations(store_of(documents), 20, translation_share=share, exponent=exponent)
    found = everything(source)

    kinds = Counter((first, second) for first, second, *_ in found)
    both = {kind: count for kind, count in kinds.items() if kind[1] is not None}
    one = {kind: count for kind, count in kinds.items() if kind[1] is None}
    assert abs(sum(both.values()) - share * len(found)) < 2
    sizes = Counter(language for language, *_ in pairs)
    expected = shares([sizes[language] for language in sorted(sizes)], exponent) * share * len(found)
    for language, rows in zip(sorted(sizes), expected, strict=True):
        assert abs(both.get((0, language), 0) - rows) < 1.01
    if share:
        assert {(second, tuple(a), tuple(b)) for _, second, a, b in found if second is not None} == {
            (language, tuple(a), tuple(b)) for language, a, b in pairs
        }
    if share < 1:
        for language in {kind[0] for kind in one}:
            own = [text for number, text in alone if number == language] or [
                text for number, _, text in documents if number == language
            ]
            stream = [token for text in own for token in [*text, END]]
            rows = {tuple(a) for first, second, a, _ in found if second is None and first == language}
            assert rows == {tuple(stream[first : first + 20]) for first in range(0, len(stream), 20)}


@given(st.integers(1, 50), st.integers(1, 50), st.integers(2, 60))
def test_sides_are_cut_in_proportion(first: int, second: int, most: int) -> None:
    kept = in_proportion(np.array([[first], [second]]), most)[:, 0]
    if first + second <= most:
        assert kept.tolist() == [first, second]
        return
    assert kept.sum() == most
    assert kept.min() >= 1
    assert np.all(kept <= [first, second])
    assert abs(kept[0] - most * first / (first + second)) < 1.01


def test_rows_know_their_languages_and_frequencies() -> None:
    store = corpus(40, languages=3)
    source = Translations(store, 30, translation_share=0.5, exponent=0.7)
    rows = source.fetch(np.arange(len(source)))
    other = rows.others
    assert isinstance(other, LanguageRows)
    for row, length in enumerate(other.lengths.tolist()):
        if length:  # a translation's tokens are odd in this text, and one more than what they translate
            assert rows.languages[row] == 0
            assert other.languages[row] in (1, 2)
            assert other.tokens[row, :length].tolist() == (rows.tokens[row, :length] + 1).tolist()
        text = rows.tokens[row, : rows.lengths[row]]
        text = text[text != END]
        assert set((text % 2).tolist()) <= {int(rows.languages[row] > 0)}
    assert rows.shares is not None
    np.testing.assert_array_equal(rows.shares, store.shares[rows.tokens])


def test_a_row_is_the_same_in_any_company() -> None:
    source = Translations(corpus(30, languages=3), 16, translation_share=0.4, exponent=0.5)
    whole = source.fetch(np.arange(len(source)))
    for index in (0, 7, len(source) - 1):
        alone = source.fetch(np.array([index]))
        for name in ("tokens", "lengths", "languages", "word_starts"):
            np.testing.assert_array_equal(getattr(alone, name)[0], getattr(whole, name)[index])
            np.testing.assert_array_equal(getattr(alone.others, name)[0], getattr(whole.others, name)[index])


def test_the_first_rows_are_of_all_kinds() -> None:
    """A validation of a few batches sees what all of it would see."""
    source = Translations(corpus(400, languages=3), 30, translation_share=0.5, exponent=1.0)
    rows = source.fetch(np.arange(200))
    assert 0.35 < (rows.others.lengths > 0).mean() < 0.65


def test_text_without_translations_is_refused_where_they_are_wanted() -> None:
    store = store_of([(0, False, [7, 8]), (1, False, [9])])
    assert len(Translations(store, 8, translation_share=0.0, exponent=1.0)) == 2
    with pytest.raises(DataError, match="no translations"):
        Translations(store, 8, translation_share=0.5, exponent=1.0)
    with pytest.raises(DataError, match="no languages"):
        Translations(replace(store, languages=None), 8, translation_share=0.0, exponent=1.0)


def test_sentences_are_told_where_they_are_asked_for() -> None:
    """In memory each document is one sentence with its end mark."""
    store = store_of([(0, False, [7, 8, 9]), (0, False, [5, 6]), (1, False, [10, 11, 12, 13])])
    rows = Translations(store, 20, translation_share=0.0, exponent=1.0, sentences=True).fetch(np.arange(2))
    starts = {
        int(language): np.flatnonzero(row[:length]).tolist()
        for language, row, length in zip(rows.languages, rows.sentence_starts, rows.lengths, strict=True)
    }
    assert starts == {0: [0, 4], 1: [0]}
    assert Translations(store, 20, translation_share=0.0, exponent=1.0).fetch(np.arange(2)).sentence_starts is None
