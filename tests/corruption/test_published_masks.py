"""The masks of recipes against the rules of RoBERTa's and ELECTRA's code, written again here as plainly as they are there."""

from __future__ import annotations

import math

import numpy as np
import pytest

from plmtrain.corruption.framed_rows import FramedRows
from plmtrain.corruption.masked_rows import Masker, RedrawingMasker
from plmtrain.keyed_random import Keys
from plmtrain.settings.composing.compose import compose
from plmtrain.settings.decode import pretrain_settings
from plmtrain.settings.masking import MaskingSettings
from plmtrain.settings.objectives.rtd import RTDSettings
from plmtrain.text.vocabulary import Vocabulary

VOCABULARY = Vocabulary(90, {"cls": 0, "bos": 0, "pad": 1, "sep": 2, "eos": 2, "unk": 3, "mask": 89}, (0, 1, 2, 3, 89))
PAD, MASK = 1, 89
ROWS = 6000


def rows(shortest: int, longest: int) -> FramedRows:
    """Rows of <s>, some ordinary tokens and </s>, then padding."""
    draw = np.random.default_rng(1)
    lengths = draw.integers(shortest, longest + 1, ROWS) + 2
    ids = draw.integers(4, 89, (ROWS, longest + 2))
    place = np.arange(longest + 2)
    ids = np.where(place < lengths[:, None] - 1, ids, np.where(place == lengths[:, None] - 1, 2, PAD))
    ids[:, 0] = 0
    return FramedRows(ids=ids, word_starts=np.ones(ids.shape, np.bool_), lengths=lengths, real=place < lengths[:, None])


def settings(*overrides: str) -> MaskingSettings:
    made = pretrain_settings(compose(list(overrides))).objective
    assert isinstance(made, MaskingSettings)
    return made


def flags(given: FramedRows, masker: Masker) -> tuple[np.ndarray, np.ndarray]:
    """Which tokens are predicted, and what the model reads, [rows, length]."""
    masked = masker(given, Keys(4, np.zeros(ROWS, np.int64), np.arange(ROWS)))
    chosen = np.zeros(given.ids.shape, np.bool_)
    chosen.reshape(-1)[masked.positions] = True
    assert np.array_equal(masked.ids[~chosen], given.ids[~chosen])
    return chosen, masked.ids


def fairseq(ids: np.ndarray, draw: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """fairseq, mask_tokens_dataset.py: MaskTokensDataset.__getitem__, of a row without padding."""
    size = len(ids)
    mask = np.full(size, False)
    mask[draw.choice(size, int(0.15 * size + draw.random()), replace=False)] = True
    rand_or_unmask = mask & (draw.random(size) < 0.1 + 0.1)
    unmask = rand_or_unmask & (draw.random(size) < 0.1 / (0.1 + 0.1))
    random = rand_or_unmask & ~unmask
    made = ids.copy()
    made[mask & ~unmask] = MASK
    made[random] = draw.choice(np.arange(4, 90), random.sum())  # all but the dictionary's four special symbols
    return mask, made


def test_roberta_masks_as_its_code_does() -> None:
    given = rows(16, 31)
    chosen, read = flags(given, Masker(settings("experiment=roberta"), VOCABULARY))
    draw = np.random.default_rng(2)
    theirs, there = np.zeros_like(chosen), given.ids.copy()
    for row, length in enumerate(given.lengths):
        theirs[row, :length], there[row, :length] = fairseq(given.ids[row, :length], draw)

    assert given.real is not None
    special = given.real & np.isin(given.ids, [0, 2])
    ordinary = given.real & ~special
    for name, of in {"special": special, "ordinary": ordinary}.items():
        margin = 4 * math.sqrt(2 * 0.15 * 0.85 / of.sum())
        assert abs(chosen[of].mean() - theirs[of].mean()) < margin, name
        assert abs(chosen[of].mean() - 0.15) < margin, name
    assert not chosen[~given.real].any()
    for name, count in {
        "masked": lambda mask, made: (mask & (made == MASK)).sum() / mask.sum(),
        "kept": lambda mask, made: (mask & (made == given.ids)).sum() / mask.sum(),
    }.items():
        assert abs(count(chosen, read) - count(theirs, there)) < 4 * math.sqrt(2 * 0.16 / chosen.sum()), name
    random = Masker(settings("experiment=roberta", "objective.mask_share=0", "objective.random_share=1"), VOCABULARY)
    chosen, read = flags(given, random)
    assert set(read[chosen].tolist()) == set(range(4, 90))  # the mask among them, but no other special token


def test_a_masks_mean_is_the_share_whatever_the_length() -> None:
    """The objective itself counts what it may choose: short rows do not lose more tokens than long ones."""
    for shortest, longest in ((2, 6), (16, 31)):
        given = rows(shortest, longest)
        chosen, _ = flags(given, Masker(settings("objective=dynamic_mlm", "model=roberta"), VOCABULARY))
        ordinary = ~VOCABULARY.is_special[given.ids]
        assert not chosen[~ordinary].any()
        assert abs(chosen[ordinary].mean() - 0.15) < 4 * math.sqrt(0.15 * 0.85 / ordinary.sum())


@pytest.mark.parametrize(("recipe", "share", "distinct"), [("electra_base", 0.15, 0.1415), ("electra_large", 0.25, 0.225)])
def test_electra_draws_as_its_code_does(recipe: str, share: float, distinct: float) -> None:
    """google-research/electra, pretrain_helpers.py: mask, which draws from a categorical distribution, with replacement."""
    given = rows(126, 126)
    chosen_of = settings(f"experiment={recipe}")
    assert isinstance(chosen_of, RTDSettings)
    assert chosen_of.with_replacement
    chosen, read = flags(given, RedrawingMasker(chosen_of, VOCABULARY))

    draw = np.random.default_rng(3)
    theirs, masked = np.zeros_like(chosen), np.zeros_like(chosen)
    for row in range(ROWS):
        places = 1 + draw.integers(0, 126, round(share * 128))  # neither <s> nor </s>
        theirs[row, places] = True
        masked[row, places[draw.random(len(places)) < 0.85]] = True

    assert not chosen[:, [0, -1]].any()
    counts = chosen.sum(axis=1), theirs.sum(axis=1)
    assert abs(counts[0].mean() - counts[1].mean()) < 4 * math.sqrt((counts[0].var() + counts[1].var()) / ROWS)
    assert counts[0].var() == pytest.approx(counts[1].var(), rel=0.1)
    assert counts[0].mean() / 126 == pytest.approx(distinct, rel=0.01)
    ours = (read[chosen] == MASK).mean()
    assert abs(ours - masked[theirs].mean()) < 4 * math.sqrt(2 * 0.86 * 0.14 / chosen.sum())
    assert np.array_equal(read[chosen & (read != MASK)], given.ids[chosen & (read != MASK)])
    for column in (1, 63, 126):
        assert abs(chosen[:, column].mean() - distinct) < 4 * math.sqrt(distinct / ROWS)


def test_drawing_again_from_nothing_or_one_token() -> None:
    masker = RedrawingMasker(RTDSettings(name="rtd", with_replacement=True, mask_share=1.0), VOCABULARY)
    given = FramedRows(
        ids=np.array([[0, 2, PAD], [0, 7, 2]]), word_starts=np.ones((2, 3), np.bool_), lengths=np.array([2, 3]), real=None
    )
    masked = masker(given, Keys(1, np.zeros(2, np.int64), np.arange(2)))
    assert masked.positions.tolist() == [4]
    assert masked.ids.tolist() == [[0, 2, PAD], [0, MASK, 2]]
