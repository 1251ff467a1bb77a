"""What is held out: enough, never everything, identical documents together, and the same as the corpus grows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plmtrain.data.corpus.splitting import LARGEST_SHARE, choose_held_out, cut_position
from plmtrain.errors import DataError


def hashes_of(names: list[int]) -> np.ndarray:
    """Spread over all 64-bit numbers, equal for equal names."""
    return np.array([(name + 1) * 0x9E3779B97F4A7C15 % 2**64 for name in names], np.uint64)


@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(1, 300)), min_size=1, max_size=80),
    st.floats(0.001, 0.9),
    st.integers(1, 200),
)
def test_properties(documents: list[tuple[int, int]], fraction: float, minimum: int) -> None:
    size = dict(documents)  # equal names, equal lengths
    names = [name for name, _ in documents]
    lengths = np.array([size[name] for name in names])
    try:
        held = choose_held_out(hashes_of(names), lengths, fraction, minimum)
    except DataError:
        single = [size[name] for name in set(names) if names.count(name) == 1]
        assert max(single, default=0) < minimum + 2
        return
    inside = {name for name, out in zip(names, held.documents, strict=True) if out}
    outside = {name for name, out in zip(names, held.documents, strict=True) if not out}
    assert not inside & outside
    assert outside
    if held.cut is None:
        assert lengths[held.documents].sum() >= minimum
        largest = max(sum(lengths[i] for i, other in enumerate(names) if other == name) for name in inside)
        assert largest <= max(fraction, LARGEST_SHARE) * lengths.sum()
    else:
        assert not inside
        assert held.needed_minimum
        assert names.count(names[held.cut]) == 1
        assert lengths[held.cut] >= minimum + 2


def test_the_share_is_that_of_the_hashes() -> None:
    hashes = np.random.default_rng(0).integers(0, 2**64, 100_000, np.uint64)
    held = choose_held_out(hashes, np.full(100_000, 50), 0.03, 128)
    assert held.documents.tolist() == (hashes < 0.03 * 2**64).tolist()
    assert not held.needed_minimum
    assert abs(held.documents.sum() - 3000) < 5 * np.sqrt(3000)


def test_a_corpus_that_grows_keeps_what_it_held_out() -> None:
    hashes = np.random.default_rng(0).integers(0, 2**64, 20_000, np.uint64)
    small, large = (choose_held_out(hashes[:count], np.full(count, 50), 0.03, 128) for count in (10_000, 20_000))
    assert (large.documents[:10_000] == small.documents).all()


def test_more_are_held_out_until_they_fill_a_row() -> None:
    hashes = np.random.default_rng(1).integers(2**62, 2**64, 30, np.uint64)
    held = choose_held_out(hashes, np.full(30, 50), 0.01, 120)
    assert held.needed_minimum
    assert set(hashes[held.documents]) == set(np.sort(hashes)[:3])


def test_few_documents_are_cut() -> None:
    held = choose_held_out(hashes_of([1, 2]), np.array([5000, 20]), 0.01, 128)
    assert held.cut == 0
    held = choose_held_out(hashes_of([1]), np.array([5000]), 0.01, 128)
    assert (held.cut, held.documents.tolist()) == (0, [False])


def test_too_little_text() -> None:
    with pytest.raises(DataError, match="too little text to hold out 128 tokens: 100 tokens in 2 documents"):
        choose_held_out(hashes_of([1, 2]), np.array([50, 50]), 0.01, 128)
    with pytest.raises(DataError, match=r"40000 tokens in 1 document \(4 with repetitions\)"):
        choose_held_out(hashes_of([1, 1, 1, 1]), np.full(4, 10_000), 0.01, 128)


class TestCutPosition:
    def test_at_the_sentence_that_gives_enough(self) -> None:
        sentences = np.arange(0, 1000, 10)
        assert cut_position(1000, sentences, np.ones(1000, np.bool_), tail=25, minimum=5) == 970
        assert cut_position(1000, sentences, np.ones(1000, np.bool_), tail=2, minimum=64) == 930

    def test_at_a_word_where_there_are_no_sentences(self) -> None:
        words = np.arange(1000) % 7 == 0
        assert cut_position(1000, np.array([0]), words, tail=100, minimum=10) == 896

    def test_anywhere_where_there_are_no_words(self) -> None:
        alone = np.arange(1000) == 0
        assert cut_position(1000, np.array([0]), alone, tail=100, minimum=10) == 900

    @given(st.integers(4, 300), st.data())
    def test_leaves_the_minimum_and_something_in_front(self, length: int, data: st.DataObject) -> None:
        minimum = data.draw(st.integers(1, length - 2))
        sentences = np.array(sorted({0, *data.draw(st.lists(st.integers(0, length - 1)))}))
        words = np.zeros(length, np.bool_)
        words[sentences] = True
        tail = data.draw(st.integers(0, 2 * length))
        position = cut_position(length, sentences, words, tail, minimum)
        assert 0 < position <= length - minimum
