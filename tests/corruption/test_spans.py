"""Spans against the authors' loop written out, their distributions against the paper's, and what must never happen to a row."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from plmtrain.corruption.framed_rows import FramedRows
from plmtrain.corruption.span_rows import SpanMasker, boundary_targets
from plmtrain.corruption.spans import choose_span_tokens, length_limits, runs, tokens_of
from plmtrain.keyed_random import Keys, row_bits, spread_at
from plmtrain.settings.spans import SpanSettings
from plmtrain.text.vocabulary import Vocabulary

VOCABULARY = Vocabulary(60, {"pad": 0, "unk": 1, "cls": 2, "sep": 3, "mask": 4}, (0, 1, 2, 3, 4))
CRITICAL_999 = {2: 13.82, 9: 27.88}
"""The 99.9th percentiles of the chi-square distribution, by degrees of freedom."""


def keys(rows: int, seed: int = 3) -> Keys:
    return Keys(seed, np.zeros(rows, np.int64), np.arange(rows))


def text(seed: int, rows: int, width: int, *, starting: float = 0.7, ends: float = 0.02, unknown: float = 0.02) -> FramedRows:
    """Random rows between cls and sep, with document ends and unknown tokens in them, and padding behind some."""
    draw = np.random.default_rng(seed)
    ids = draw.integers(5, VOCABULARY.size, (rows, width))
    ids[draw.random(ids.shape) < ends] = 3
    ids[draw.random(ids.shape) < unknown] = 1
    lengths = np.where(draw.random(rows) < 0.5, width, draw.integers(2, width + 1, rows))
    ids[:, 0] = 2
    ids[np.arange(rows), lengths - 1] = 3
    real = np.arange(width) < lengths[:, None]
    ids[~real] = 0
    starts = (draw.random(ids.shape) < starting) | VOCABULARY.is_special[ids]
    return FramedRows(ids=ids, word_starts=starts, lengths=lengths, real=real)


def loop(number: np.uint64, ids: NDArray[np.int64], starts: NDArray[np.bool_], budget: int, p: float, longest: int) -> list[int]:
    """The loop of the authors' code over one row, with the numbers that are drawn at each turn."""
    special = VOCABULARY.is_special[ids]
    candidates = np.flatnonzero(~special).tolist()
    shares = [p * (1 - p) ** length for length in range(longest)]
    chosen: set[int] = set()
    turn = 0
    while len(chosen) < min(budget, len(candidates)):
        drawn = int(spread_at(np.array([number]), np.array([turn]))[0])
        turn += 1
        anchor = candidates[((drawn >> 32) * len(candidates)) >> 32]
        if anchor in chosen:
            continue
        share, length = (drawn & (2**32 - 1)) / 2**32 * sum(shares), 1
        while length < longest and share >= sum(shares[:length]):
            length += 1
        at = anchor
        while not (starts[at] or special[at - 1]):
            at -= 1
        begun = 0
        while not special[at]:
            begun += bool(starts[at] or special[at - 1])
            if begun > length or len(chosen) == min(budget, len(candidates)):
                break
            chosen.add(at)
            at += 1
    return sorted(chosen)


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    rows=st.integers(1, 5),
    width=st.integers(2, 90),
    starting=st.floats(0, 1),
    ends=st.sampled_from([0.0, 0.05, 0.6]),
    share=st.floats(0.01, 0.9),
    longest=st.integers(1, 12),
)
def test_tokens_are_those_of_the_authors_loop(
    seed: int, rows: int, width: int, starting: float, ends: float, share: float, longest: int
) -> None:
    framed = text(seed, rows, width, starting=starting, ends=ends)
    excluded = VOCABULARY.is_special[framed.ids]
    budgets = np.ceil((~excluded).sum(axis=1) * share).astype(np.int64)
    random = row_bits("test", keys(rows, seed))
    found = choose_span_tokens(random, excluded, framed.word_starts, budgets, length_limits(0.2, longest))
    expected = [
        row * width + position
        for row in range(rows)
        for position in loop(random[row], framed.ids[row], framed.word_starts[row], int(budgets[row]), 0.2, longest)
    ]
    assert found.tolist() == expected


def test_lengths_are_cut_off_and_scaled_not_clamped() -> None:
    shares = np.diff(np.concatenate(([0], length_limits(0.2, 10).astype(float) / 2**32, [1])))
    # Section 3.1: the mean is 3.8; with all that is longer than ten clamped to ten it would be 4.46.
    published = [0.2241, 0.1792, 0.1434, 0.1147, 0.0918, 0.0734, 0.0587, 0.0470, 0.0376, 0.0301]
    assert shares == pytest.approx(published, abs=5e-5)
    assert (shares * np.arange(1, 11)).sum() == pytest.approx(3.797, abs=5e-4)


def test_spans_are_as_long_as_the_paper_says() -> None:
    """Rows whose budget is what their first span draws: where that lies clear of the row's end, it is the only one."""
    rows, width, p = 20_000, 60, 0.2
    excluded = np.zeros((rows, width), np.bool_)
    excluded[:, [0, -1]] = True
    random, limits = row_bits("test", keys(rows)), length_limits(p, 10)
    budgets = 1 + np.searchsorted(limits, spread_at(random, np.zeros(rows, np.int64)) & np.uint64(2**32 - 1), side="right")
    first, lengths = runs(choose_span_tokens(random, excluded, np.ones((rows, width), np.bool_), budgets, limits))
    row, column = np.divmod(first, width)
    clear = (column < width - 11) & (np.bincount(row, minlength=rows)[row] == 1)
    assert clear.sum() > rows * 0.75
    counts = np.bincount(lengths[clear], minlength=11)[1:]
    shares = np.array([p * (1 - p) ** (length - 1) for length in range(1, 11)])
    expected = shares / shares.sum() * counts.sum()
    assert ((counts - expected) ** 2 / expected).sum() < CRITICAL_999[9]
    places = np.bincount(column[clear], minlength=width)[1 : width - 11]
    assert places == pytest.approx(places.mean(), abs=5 * places.mean() ** 0.5)  # each token is as likely to begin one


def masked(framed: FramedRows, source: NDArray[np.uint16], seed: int = 3, **changes: object):
    return SpanMasker(SpanSettings(**changes), VOCABULARY)(framed, source, keys(len(framed.ids), seed))


SOURCE = np.random.default_rng(1).choice(np.arange(1, 60), 5000).astype(np.uint16)


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    rows=st.integers(1, 6),
    width=st.integers(2, 80),
    ends=st.sampled_from([0.0, 0.05, 0.4]),
    share=st.sampled_from([0.15, 0.5]),
    most=st.integers(1, 15),
)
def test_what_holds_for_any_row(seed: int, rows: int, width: int, ends: float, share: float, most: int) -> None:
    framed = text(seed, rows, width, ends=ends)
    before = framed.ids.copy()
    found = masked(framed, SOURCE, seed, mask_probability=share)
    flat, read = framed.ids.reshape(-1), found.ids.reshape(-1)
    assert np.array_equal(framed.ids, before)
    # The original is recoverable, and nothing but the predicted tokens is changed.
    restored = read.copy()
    restored[found.positions] = found.labels
    assert np.array_equal(restored, flat)
    special = VOCABULARY.is_special[flat]
    assert not special[found.positions].any()
    # The budget counts all tokens of the text, unknown ones too, and is exact.
    words, known = np.isin(framed.ids, [0, 2, 3], invert=True).sum(axis=1), (~special).reshape(framed.ids.shape).sum(axis=1)
    expected = [min(math.ceil(round(count * share, 6)), most_there) for count, most_there in zip(words, known, strict=True)]
    assert np.bincount(found.positions // width, minlength=rows).tolist() == expected

    # Spans are what they say, do not touch, and share one fate.
    assert found.positions.tolist() == [
        place for first, size in zip(found.first, found.lengths, strict=True) for place in range(first, first + size)
    ]
    assert np.all(found.first[1:] > (found.first + found.lengths)[:-1])
    chosen = set(found.positions.tolist())
    frames = np.isin(flat, [0, 2, 3])
    for first, size, count, bounded in zip(found.first, found.lengths, found.words, found.bounded, strict=True):
        inner = slice(first, first + size)
        if (read[inner] == 4).any():
            assert (read[inner] == 4).all()
        assert count == 1 + framed.word_starts.reshape(-1)[first + 1 : first + size].sum()
        assert bounded == (not frames[first - 1] and not frames[first + size])
        assert first // width == (first + size) // width

    # What stands beside a span is never hidden or changed.
    targets = boundary_targets(found, most)
    for sides in (targets.left, targets.right):
        assert chosen.isdisjoint(sides.tolist())
        assert np.array_equal(read[sides], flat[sides])
        assert not frames[sides].any()
    assert np.array_equal(found.positions[targets.predicted], targets.left[targets.spans] + 1 + targets.places)
    counts = np.bincount(targets.spans, minlength=len(targets.left))
    assert counts.tolist() == np.minimum(targets.right - targets.left - 1, most).tolist()
    assert len(targets.left) == found.bounded.sum()


def test_a_span_is_masked_swapped_or_kept_in_the_given_shares() -> None:
    framed = text(5, 4000, 100, ends=0.0, unknown=0.0)
    found = masked(framed, SOURCE)
    read = found.ids.reshape(-1)
    fates = []
    for first, size in zip(found.first.tolist(), found.lengths.tolist(), strict=True):
        now, was = read[first : first + size], framed.ids.reshape(-1)[first : first + size]
        fates.append(0 if (now == 4).all() else 2 if (now == was).all() else 1)
    counts = np.bincount(fates, minlength=3)
    # A random token is the original now and then: once in 55, for spans of one token.
    lucky = counts[1] * np.mean(found.lengths == 1) / 55
    expected = len(fates) * np.array([0.8, 0.1, 0.1]) + np.array([0, -lucky, lucky])
    assert ((counts - expected) ** 2 / expected).sum() < CRITICAL_999[2]


def test_random_tokens_come_as_often_as_in_the_text() -> None:
    source = np.repeat(np.arange(3, 13), np.arange(1, 11) * 7).astype(np.uint8)  # 3 and 4 are special
    drawn = tokens_of(source, row_bits("test", keys(50_000)), VOCABULARY.is_special)
    counts = np.bincount(drawn, minlength=13)
    assert counts[:5].sum() == 0
    expected = np.arange(3, 11) / np.arange(3, 11).sum() * 50_000
    assert ((counts[5:] - expected) ** 2 / expected).sum() < CRITICAL_999[9]


def test_random_tokens_may_be_any_of_the_vocabulary() -> None:
    found = masked(text(6, 300, 100), np.full(9, 7, np.uint8), random_tokens="ordinary", mask_share=0.0, random_share=1.0)
    assert set(found.ids.reshape(-1)[found.positions].tolist()) == set(range(5, 60))
    from_text = masked(text(6, 300, 100), np.full(9, 7, np.uint8), mask_share=0.0, random_share=1.0)
    assert set(from_text.ids.reshape(-1)[from_text.positions].tolist()) == {7}


def test_a_row_s_spans_are_a_function_of_its_key_alone() -> None:
    framed = text(7, 40, 64)
    together = masked(framed, SOURCE)
    for row in (0, 1, 17, 39):
        alone = FramedRows(
            ids=framed.ids[row : row + 1], word_starts=framed.word_starts[row : row + 1], lengths=framed.lengths[row : row + 1]
        )
        key = Keys(3, np.zeros(1, np.int64), np.array([row]))
        assert np.array_equal(SpanMasker(SpanSettings(), VOCABULARY)(alone, SOURCE, key).ids[0], together.ids[row])


def test_spans_are_chosen_for_all_rows_at_once() -> None:
    """Eight times as many rows take about as many calls: a loop over rows or tokens in Python would take eight times as many."""

    def calls(rows: int) -> int:
        framed, masker, key = text(8, rows, 512, ends=0.005, unknown=0.0), SpanMasker(SpanSettings(), VOCABULARY), keys(rows)
        masker(framed, SOURCE, key)  # what is computed once and kept
        count = 0

        def count_calls(frame: object, event: str, argument: object) -> None:
            nonlocal count
            count += event in ("call", "c_call")

        sys.setprofile(count_calls)
        try:
            masker(framed, SOURCE, key)
        finally:
            sys.setprofile(None)
        return count

    assert calls(64) < 2 * calls(8)
