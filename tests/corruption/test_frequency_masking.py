"""XLM's masks: exact numbers, draws in proportion to weights, and nothing that depends on the batch."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from plmtrain.corruption.framed_rows import FramedRows
from plmtrain.corruption.frequency_masking import FrequencyMasker, choose_weighted
from plmtrain.keyed_random import Keys, bits
from plmtrain.settings.masking import RareTokenSettings
from plmtrain.text.vocabulary import Vocabulary

VOCABULARY = Vocabulary(64, {"pad": 2, "unk": 3, "cls": 1, "sep": 1, "mask": 5}, (0, 1, 2, 3, 4, 5))


def keys(rows: int, epoch: int = 0) -> Keys:
    return Keys(3, np.full(rows, epoch), np.arange(rows))


def rows_of(rows: int, length: int) -> tuple[FramedRows, np.ndarray]:
    """Rows of random tokens between end marks, the last third padding; and how frequent each token is."""
    generator = np.random.default_rng(1)
    ids = 6 + generator.zipf(1.3, (rows, length)) % 58
    real = np.arange(length) < np.where(np.arange(rows) % 3 == 2, length // 2, length)[:, None]
    lengths = real.sum(axis=1)
    ids[:, 0] = 1
    ids[np.arange(rows), lengths - 1] = 1
    ids = np.where(real, ids, 2)
    shares = 1.0 / ids.astype(float) ** 1.3
    return FramedRows(ids=ids, word_starts=np.ones(ids.shape, np.bool_), lengths=lengths, real=real), shares


def test_draws_are_those_of_weighted_sampling_without_replacement() -> None:
    """Each set of two among four comes as often as drawing one after another gives it."""
    weights, rows = np.array([1.0, 2.0, 4.0, 0.5]), 40_000
    random = bits("a test", keys(rows), 5)
    excluded = np.zeros((rows, 5), np.bool_)
    excluded[:, 2] = True
    spread = np.ones((rows, 5))
    spread[:, [0, 1, 3, 4]] = weights
    chosen = choose_weighted(random, spread, excluded, np.full(rows, 2)).reshape(rows, 2) % 5
    expected: dict[tuple[int, ...], float] = {}
    for a, b in permutations(range(4), 2):
        pair = tuple(sorted((a, b)))
        chance = weights[a] / weights.sum() * weights[b] / (weights.sum() - weights[a])
        expected[pair] = expected.get(pair, 0.0) + chance
    places = {0: 0, 1: 1, 3: 2, 4: 3}
    found = [tuple(sorted((places[a], places[b]))) for a, b in chosen.tolist()]
    for pair, chance in expected.items():
        assert abs(found.count(pair) / rows - chance) < 4 * np.sqrt(chance * (1 - chance) / rows), pair


def test_budgets_are_exact_and_no_more_than_there_is() -> None:
    random = bits("a test", keys(6), 8)
    excluded = np.zeros((6, 8), np.bool_)
    excluded[3:, 2:] = True
    chosen = choose_weighted(random, np.ones((6, 8)), excluded, np.array([0, 3, 8, 1, 2, 5]))
    assert np.bincount(chosen // 8, minlength=6).tolist() == [0, 3, 8, 1, 2, 2]
    assert np.all(np.diff(chosen) > 0)


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0])
def test_rates(exponent: float) -> None:
    settings = RareTokenSettings(random_tokens="all", frequency_exponent=exponent)
    masker = FrequencyMasker(settings, VOCABULARY)
    rows, shares = rows_of(3000, 40)
    masked = masker(rows, shares, keys(3000))
    original = rows.ids.copy().reshape(-1)
    original[masked.positions] = masked.labels
    assert np.array_equal(original.reshape(rows.ids.shape), rows.ids)
    changed = np.flatnonzero(masked.ids != rows.ids)
    assert np.isin(changed, masked.positions).all()
    assert not VOCABULARY.is_special[masked.labels].any()

    per_row = np.bincount(masked.positions // 40, minlength=3000)
    if exponent:  # as many of the row's ordinary tokens as the share says, rounded up or down; the ends of sides do not count
        ordinary = (~VOCABULARY.is_special[rows.ids]).sum(axis=1)
        assert np.all(np.abs(per_row - 0.15 * ordinary) < 1)
        assert abs(per_row.sum() / ordinary.sum() - 0.15) < 0.001
    else:  # each by itself: as many as a binomial distribution has
        ordinary = ~VOCABULARY.is_special[rows.ids]
        spread = np.sqrt(0.15 * 0.85 / ordinary.sum())
        assert abs(len(masked.positions) / ordinary.sum() - 0.15) < 4 * spread
        full = per_row[rows.lengths == 40]
        assert abs(full.var() / (38 * 0.15 * 0.85) - 1) < 0.15
    read = masked.ids.reshape(-1)[masked.positions]
    share = len(masked.positions)
    hidden = (read == 5).mean()
    kept = (read == masked.labels).mean()
    assert abs(hidden - (0.8 + 0.1 / 64)) < 4 * np.sqrt(0.16 / share)
    assert abs(kept - (0.1 + 0.1 / 64)) < 4 * np.sqrt(0.09 / share)


def test_rare_tokens_are_preferred_as_the_exponent_says() -> None:
    """Where one in many is drawn, a token comes in proportion to its weight."""
    rows, length = 30_000, 42
    ids = np.full((rows, length), 6)
    ids[:, 1::2] = 7
    ids[:, 0] = ids[:, -1] = 1
    shares = np.where(ids == 6, 0.9, 0.1)
    framed = FramedRows(ids=ids, word_starts=np.ones(ids.shape, np.bool_), lengths=np.full(rows, length))
    settings = RareTokenSettings(mask_probability=1.5 / length)
    labels = FrequencyMasker(settings, VOCABULARY)(framed, shares, keys(rows)).labels
    expected = 0.1**-0.5 / (0.1**-0.5 + 0.9**-0.5)
    assert abs((labels == 7).mean() - expected) < 0.012


def test_a_mask_depends_on_its_row_alone() -> None:
    masker = FrequencyMasker(RareTokenSettings(), VOCABULARY)
    rows, shares = rows_of(30, 40)
    whole = masker(rows, shares, keys(30))
    part = FramedRows(ids=rows.ids[4:9], word_starts=rows.word_starts[4:9], lengths=rows.lengths[4:9])
    alone = masker(part, shares[4:9], Keys(3, np.zeros(5, np.int64), np.arange(4, 9)))
    assert np.array_equal(alone.ids, whole.ids[4:9])
    assert not np.array_equal(masker(rows, shares, keys(30, epoch=1)).ids, whole.ids)
