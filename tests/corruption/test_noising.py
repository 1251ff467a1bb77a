"""BART's noises: what may never change, what each one does by its definition, and a plain reading of the authors' algorithm."""

from __future__ import annotations

import math
from collections import Counter
from itertools import chain, permutations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plmtrain.corruption.framed_rows import FramedRows
from plmtrain.corruption.grouping import ranges, share_of, shuffled
from plmtrain.corruption.infilling import draw_lengths
from plmtrain.corruption.noising import DELETED, FIRST, HIDDEN, MOVED, NoisedRows, Noiser
from plmtrain.keyed_random import Keys, row_bits
from plmtrain.settings.noising import NoisingSettings
from plmtrain.text.vocabulary import Vocabulary

VOCABULARY = Vocabulary(1000, {"cls": 0, "bos": 0, "pad": 1, "sep": 2, "eos": 2, "unk": 3, "mask": 999}, (0, 1, 2, 3, 999))
BOS, PAD, EOS, UNK, MASK = 0, 1, 2, 3, 999
QUIET = {"permute": 0.0, "infill": 0.0}


def noiser(longest: int = 10_000, **changes: Any) -> Noiser:
    return Noiser(NoisingSettings(**{**QUIET, **changes}), VOCABULARY, longest)


def text(
    seed: int, count: int, width: int, *, ragged: bool = False, end: float = 0.03, word: float = 0.7, sentence: float = 0.1
) -> FramedRows:
    """Framed rows of ordinary tokens, document ends and a few unknown tokens."""
    draw = np.random.default_rng(seed)
    ids = draw.integers(4, 999, (count, width))
    ids[draw.random(ids.shape) < end] = EOS
    ids[draw.random(ids.shape) < 0.01] = UNK
    lengths = draw.integers(2, width + 1, count) if ragged else np.full(count, width)
    places = np.arange(width)
    ids[:, 0] = BOS
    ids[np.arange(count), lengths - 1] = EOS
    real = places < lengths[:, None]
    ids[~real] = PAD
    special = np.isin(ids, [BOS, EOS, PAD])
    return FramedRows(
        ids=ids,
        word_starts=(draw.random(ids.shape) < word) | special,
        lengths=lengths,
        real=None if real.all() else real,
        sentence_starts=(draw.random(ids.shape) < sentence) & ~special,
    )


def keys(count: int, epoch: int = 0, first: int = 0) -> Keys:
    return Keys(7, np.full(count, epoch, np.int64), np.arange(first, first + count))


def row_of(noised: NoisedRows, row: int) -> tuple[list[int], list[int]]:
    """The ids and the origins of one row, without its padding."""
    real = slice(None) if noised.real is None else noised.real[row]
    return noised.ids[row][real].tolist(), noised.origins[row][real].tolist()


NOISES = {
    "permute": {"permute": 1.0},
    "permute_some": {"permute": 0.4},
    "infill": {"infill": 0.3},
    "infill_all": {"infill": 1.0, "span_mean": 1.0},
    "mask": {"mask": 0.3},
    "delete": {"delete": 0.3},
    "insert": {"insert": 0.3},
    "rotate": {"rotate": 1.0},
    "paper": {"permute": 1.0, "infill": 0.3},
    "all": {"permute": 0.7, "infill": 0.2, "mask": 0.1, "delete": 0.1, "insert": 0.1, "rotate": 0.5, "random_share": 0.2},
}


@pytest.mark.parametrize("kind", NOISES)
@settings(max_examples=12)
@given(seed=st.integers(0, 2**32), count=st.integers(1, 6), width=st.integers(2, 70), ragged=st.booleans())
def test_what_holds_under_every_noise(kind: str, seed: int, count: int, width: int, ragged: bool) -> None:
    rows = text(seed, count, width, ragged=ragged)
    before = rows.ids.copy()
    noised = noiser(**NOISES[kind])(rows, keys(count, epoch=seed % 5))
    assert np.array_equal(rows.ids, before)
    for row, length in enumerate(rows.lengths.tolist()):
        ids, origins = row_of(noised, row)
        original, marks = before[row, :length], noised.marks[row, :length]
        assert (ids[0], origins[0]) == (BOS, 0)
        assert (ids[-1], origins[-1]) == (EOS, length - 1)
        kept = [origin for origin in origins if origin >= 0]
        # Every token is kept once, hidden or left out; what is kept is what it was.
        assert len(kept) == len(set(kept))
        lost = np.flatnonzero(marks & (HIDDEN | DELETED)).tolist()
        assert sorted(kept + lost) == list(range(length))
        assert not np.any((marks & HIDDEN != 0) & (marks & DELETED != 0))
        assert [token for token, origin in zip(ids, origins, strict=True) if origin >= 0] == original[kept].tolist()
        # Frames and document ends stay, in their order, and every token stays in its document.
        fixed = np.flatnonzero(np.isin(original, [BOS, EOS]))
        assert [origin for origin in kept if original[origin] in (BOS, EOS)] == fixed.tolist()
        document = np.searchsorted(fixed, np.arange(length))
        assert np.all(np.diff(document[kept]) >= 0)
        masks = [token for token, origin in zip(ids, origins, strict=True) if origin < 0]
        if kind != "all":
            assert set(masks) <= {MASK}
        assert not set(masks) & {BOS, EOS, PAD, UNK}
    if noised.real is not None:
        assert np.all(noised.ids[~noised.real] == PAD)
        assert noised.real.any(axis=0).all()


@pytest.mark.parametrize("kind", NOISES)
def test_a_row_s_noise_is_a_function_of_its_key_alone(kind: str) -> None:
    rows, noise = text(1, 900, 60, ragged=True), noiser(**NOISES[kind])  # more than a stretch of 2**15 tokens
    together = noise(rows, keys(900))
    for row in (0, 1, 545, 546, 899):
        length = rows.lengths[row]
        part = FramedRows(
            ids=rows.ids[row : row + 1, :length],
            word_starts=rows.word_starts[row : row + 1, :length],
            lengths=rows.lengths[row : row + 1],
            sentence_starts=rows.sentence_starts[row : row + 1, :length],
        )
        alone = noise(part, keys(1, first=row))
        assert row_of(alone, 0) == row_of(together, row)
        assert np.array_equal(alone.marks[0], together.marks[row, :length])
    other = noise(rows, keys(900, epoch=1))
    assert sum(row_of(other, row) != row_of(together, row) for row in range(900)) > 300


def one_row(tokens: list[int], count: int, sentences: list[int] | None = None, words: list[int] | None = None) -> FramedRows:
    """The same framed row many times; sentences and words begin at the given places of the framed row."""
    ids = np.tile([BOS, *tokens, EOS], (count, 1))

    def marked(places: list[int] | None, otherwise: bool) -> np.ndarray:
        flags = np.full(ids.shape, otherwise and places is None)
        flags[:, places or []] = True
        return flags

    return FramedRows(
        ids=ids,
        word_starts=marked(words, True),
        lengths=np.full(count, ids.shape[1]),
        sentence_starts=marked(sentences, False),
    )


def assert_uniform(counts: Counter[Any], kinds: int) -> None:
    """By the chi-squared statistic, at about four standard deviations."""
    expected = counts.total() / kinds
    assert len(counts) == kinds
    statistic = sum((count - expected) ** 2 / expected for count in counts.values())
    assert statistic < (kinds - 1) + 4 * math.sqrt(2 * (kinds - 1))


SENTENCES = [[10, 11], [20], [30, 31, 32], [40, 41]]


def test_sentences_change_places_whole_and_every_order_is_as_likely() -> None:
    rows = one_row(list(chain(*SENTENCES)), 6000, sentences=[3, 4, 7])  # what the row begins with is a sentence, too
    noised = noiser(permute=1.0)(rows, keys(6000))
    orders = Counter(tuple(row[1:-1]) for row in noised.ids.tolist())
    assert set(orders) == {tuple(chain(*order)) for order in permutations(SENTENCES)}
    assert_uniform(orders, 24)
    first = np.sum(noised.marks & FIRST != 0, axis=1)
    moved = np.sum((noised.marks & FIRST != 0) & (noised.marks & MOVED != 0), axis=1)
    assert np.all(first == 4)
    assert moved.mean() == pytest.approx(3, abs=0.06)  # a random permutation has one fixed point on average
    assert set(moved.tolist()) == {0, 2, 3, 4}


def test_a_share_of_the_sentences_changes_places() -> None:
    """Ten sentences of one token, 0.35 of them, rounded up: four, any four, are permuted among themselves."""
    rows = one_row(list(range(10, 20)), 4000, sentences=list(range(1, 11)))
    noised = noiser(permute=0.35)(rows, keys(4000))
    moved = noised.ids[:, 1:-1] != np.arange(10, 20)
    assert moved.sum(axis=1).max() == 4
    assert moved.sum(axis=1).mean() == pytest.approx(3, abs=0.08)
    assert np.allclose(moved.mean(axis=0), 0.3, atol=0.04)


def test_sentences_stay_in_their_document() -> None:
    rows = one_row([10, 11, 12, EOS, 20, 21, EOS, 30], 300, sentences=[2, 3, 6])
    for row in noiser(permute=1.0)(rows, keys(300)).ids.tolist():
        assert (row[0], row[4], row[7], row[9]) == (BOS, EOS, EOS, EOS)
        assert (set(row[1:4]), set(row[5:7]), row[8]) == ({10, 11, 12}, {20, 21}, 30)


def test_text_without_sentence_starts_stays_in_order() -> None:
    rows = text(2, 20, 50)
    rows = FramedRows(ids=rows.ids, word_starts=rows.word_starts, lengths=rows.lengths)
    assert np.array_equal(noiser(permute=1.0)(rows, keys(20)).ids, rows.ids)


def test_rotation_begins_with_any_token() -> None:
    rows = one_row([10, 11, 12, 13, 14], 20000)
    noised = noiser(rotate=1.0)(rows, keys(20000)).ids
    assert_uniform(Counter(noised[:, 1].tolist()), 5)
    assert all((np.diff(row[1:-1]) % 5 == 1).all() for row in noised)
    some = noiser(rotate=0.5)(rows, keys(20000)).ids
    assert (some[:, 1] != 10).mean() == pytest.approx(0.5 * 0.8, abs=0.03)


def test_inserted_masks_take_any_places() -> None:
    """ceil(0.25 * 7) = 2 masks between 5 tokens and their frame: 21 arrangements."""
    noised = noiser(insert=0.25)(one_row([10, 11, 12, 13, 14], 8000), keys(8000))
    assert noised.ids.shape == (8000, 9)
    assert_uniform(Counter(tuple(np.flatnonzero(row == MASK).tolist()) for row in noised.ids), 21)
    assert np.array_equal(noised.ids[noised.ids != MASK].reshape(8000, 7), one_row([10, 11, 12, 13, 14], 8000).ids)


def test_insertions_stop_where_the_model_ends() -> None:
    rows = text(3, 20, 50)
    assert noiser(longest=52, insert=0.5)(rows, keys(20)).ids.shape == (20, 52)
    assert noiser(longest=40, insert=0.5)(rows, keys(20)).ids.shape == (20, 50)


@pytest.mark.parametrize("noise", ["mask", "delete"])
def test_tokens_are_masked_or_left_out_by_an_exact_share(noise: str) -> None:
    rows = text(4, 200, 60, ragged=True)
    content = np.sum(~np.isin(rows.ids, [BOS, EOS, PAD]), axis=1)
    wanted = np.ceil(content * 0.15).astype(int)
    noised = noiser(**{noise: 0.15})(rows, keys(200))
    bit = HIDDEN if noise == "mask" else DELETED
    assert np.array_equal(np.sum(noised.marks & bit != 0, axis=1), wanted)
    lengths = np.array([len(row_of(noised, row)[0]) for row in range(200)])
    assert np.array_equal(lengths, rows.lengths - (wanted if noise == "delete" else 0))
    assert np.sum(noised.ids == MASK) == (wanted.sum() if noise == "mask" else 0)
    one = noiser(**{noise: 0.2})(one_row(list(range(10, 20)), 4000), keys(4000))
    assert np.allclose(np.mean(one.marks & bit != 0, axis=0)[1:-1], 0.2, atol=0.03)


def test_lengths_follow_poisson_and_add_up_to_the_budget() -> None:
    random = row_bits("test", keys(2000))
    lengths, counts, empty = draw_lengths(random, np.full(2000, 60), 3.0)
    sums = np.add.reduceat(lengths, np.cumsum(counts) - counts)
    assert np.all(sums == 60)
    whole = np.delete(lengths, np.cumsum(counts) - 1)  # all but those that were cut
    drawn = np.bincount(whole, minlength=12)
    drawn[0] = empty.sum()
    expected = np.array([math.exp(-3) * 3**k / math.factorial(k) for k in range(8)])
    # Stopping at a budget favours short ones a little: by less than one in twenty spans.
    assert np.allclose(drawn[:8] / drawn.sum(), expected, atol=0.012)
    nothing = draw_lengths(random, np.zeros(2000, np.int64), 3.0)
    assert [array.sum() for array in nothing] == [0, 0, 0]
    many = draw_lengths(random[:3], np.array([5, 0, 2000]), 0.5)
    assert many[1][1] == 0
    assert many[0].sum() == 2005


def as_the_authors_do(starts: list[bool], share: float, mean: float, draw: np.random.Generator) -> tuple[int, int, int]:
    """One row by the authors' algorithm, token by token: hidden tokens, masks of spans, inserted masks."""
    length = len(starts)
    budget = math.ceil(sum(starts) * share)
    lengths: list[int] = []
    while sum(lengths) < budget:
        lengths.append(int(draw.poisson(mean)))
    lengths[-1] -= sum(lengths) - budget
    inserts = lengths.count(0)
    lengths = [one for one in lengths if one]
    chosen = draw.permutation(np.flatnonzero(starts))[: len(lengths)].tolist()
    keep = [True] * length
    masked = set(chosen)
    for place, left in zip(chosen, lengths, strict=True):
        while True:
            place += 1
            if place == length - 1:
                break
            left -= starts[place]
            if left <= 0 and starts[place]:
                break
            keep[place] = False
    hidden = sum(not kept or place in masked for place, kept in enumerate(keep))
    return hidden, sum(keep[place] for place in masked), inserts


def test_infilling_hides_as_much_as_the_authors_code() -> None:
    count, width = 1500, 82
    rows = text(5, count, width, end=0.0)
    rows.word_starts[:, [0, -1]] = False  # as in the authors' code; ours knows that they are fixed
    draw = np.random.default_rng(0)
    expected = np.array([as_the_authors_do(starts, 0.3, 3.0, draw) for starts in rows.word_starts.tolist()])
    noised = noiser(infill=0.3)(rows, keys(count))
    real = np.ones(noised.ids.shape, np.bool_) if noised.real is None else noised.real
    hidden = np.sum(noised.marks & HIDDEN != 0, axis=1)
    spans = np.sum((noised.origins < -1) & real, axis=1)
    inserted = np.sum((noised.origins == -1) & real, axis=1)
    for found, theirs in zip((hidden, spans, inserted), expected.T, strict=True):
        error = math.hypot(found.std(), theirs.std()) / math.sqrt(count)
        assert found.mean() == pytest.approx(theirs.mean(), abs=4 * error)
        assert found.std() == pytest.approx(theirs.std(), rel=0.12)


def test_spans_are_whole_words_and_their_masks_know_how_many() -> None:
    rows = text(6, 200, 60)
    noised = noiser(infill=0.3)(rows, keys(200))
    words = rows.word_starts & ~np.isin(rows.ids, [BOS, EOS, PAD])
    for row in range(200):
        hidden = noised.marks[row] & HIDDEN != 0
        begins = words[row] | np.isin(rows.ids[row], [BOS, EOS])
        # Where hiding begins or ends, a word does.
        assert begins[1:][np.diff(hidden)].all()
        _, origins = row_of(noised, row)
        counted = sum(-1 - origin for origin in origins if origin < 0)
        assert counted == np.sum(hidden & words[row]) <= math.ceil(words[row].sum() * 0.3)


def test_a_mask_stands_where_its_span_stood() -> None:
    rows = text(7, 100, 60)
    noised = noiser(infill=0.3)(rows, keys(100))
    for row in range(100):
        _, origins = row_of(noised, row)
        for place, origin in enumerate(origins[:-1]):
            if origin >= 0 > origins[place + 1] and origins[place + 1] < -1:
                assert noised.marks[row, origin + 1] & HIDDEN


def test_random_tokens_stand_for_some_masks() -> None:
    noised = noiser(mask=0.5, random_share=0.3)(text(8, 300, 60), keys(300))
    hidden = noised.ids[noised.origins < 0]
    assert np.mean(hidden != MASK) == pytest.approx(0.3, abs=0.02)
    assert not np.isin(hidden[hidden != MASK], [BOS, PAD, EOS, UNK]).any()


def test_documents_go_with_their_tokens() -> None:
    rows = text(9, 50, 60, ragged=True)
    documents = np.cumsum(np.pad(rows.ids == EOS, ((0, 0), (1, 0)))[:, :-1], axis=1)
    divided = FramedRows(
        ids=rows.ids,
        word_starts=rows.word_starts,
        lengths=rows.lengths,
        real=rows.real,
        sentence_starts=rows.sentence_starts,
        documents=documents,
    )
    noised = noiser(**NOISES["all"])(divided, keys(50))
    assert noised.documents is not None
    for row in range(50):
        ids, origins = row_of(noised, row)
        found = noised.documents[row, : len(ids)]
        assert [documents[row, origin] for origin in origins if origin >= 0] == [
            document for document, origin in zip(found, origins, strict=True) if origin >= 0
        ]
        assert np.all(np.diff(found) >= 0)


def test_nothing_corrupted_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing is corrupted"):
        NoisingSettings(permute=0, infill=0)


@given(st.lists(st.tuples(st.integers(-5, 50), st.integers(0, 6)), max_size=12))
def test_ranges(parts: list[tuple[int, int]]) -> None:
    first, lengths = np.array(parts, np.int64).reshape(-1, 2).T
    assert ranges(first, lengths).tolist() == [number for begin, length in parts for number in range(begin, begin + length)]


def test_shuffled_keeps_groups_apart() -> None:
    groups = np.repeat(np.arange(300), 4)
    orders = Counter()
    for turn in range(20):
        order = shuffled(groups, row_bits("test", keys(1200, epoch=turn)))
        assert np.array_equal(groups[order], groups)
        orders.update(map(tuple, (order % 4).reshape(-1, 4).tolist()))
    assert_uniform(orders, 24)


def test_shares_are_rounded_up_and_whole_numbers_stay() -> None:
    assert share_of(np.array([0, 1, 10, 30, 100]), 0.1).tolist() == [0, 1, 1, 3, 10]
    assert share_of(np.arange(200), 0.3).tolist() == [-(-3 * n // 10) for n in range(200)]
