"""Permutation language modelling at the published length."""

from __future__ import annotations

import numpy as np

from plmtrain import objectives
from plmtrain.data.rows.rows import Rows
from plmtrain.keyed_random import Keys
from plmtrain.objectives.plm import PermutationLM
from plmtrain.settings.models.two_stream import TwoStreamSettings
from plmtrain.settings.objectives.plm import PermutationLMSettings
from plmtrain.text.vocabulary import Vocabulary


def test_the_published_number_of_targets() -> None:
    vocabulary = Vocabulary(120, {"unk": 0, "cls": 3, "sep": 4, "pad": 5, "mask": 6}, tuple(range(9)))
    model = TwoStreamSettings(name="tiny", layers=2, width=32, heads=2, feed_forward=64)
    plm = objectives.build(PermutationLMSettings(name="test"), model, vocabulary)
    assert isinstance(plm, PermutationLM)
    shape = plm.row_shape(512)
    assert (shape.length, shape.advance, shape.others) == (509, 256, 253)
    rows = Rows(tokens=np.full((2, 509), 20), lengths=np.full(2, 509), word_starts=np.ones((2, 509), np.bool_))
    batch = plm.collate(rows, Keys(1, np.zeros(2, np.int64), np.arange(2)))
    assert plm.inspect(batch).histograms["predicted per row"] == {85: 2}
