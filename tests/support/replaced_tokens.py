"""A small replaced token detection, and rows for it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from plmtrain import backbones, objectives
from plmtrain.data.rows.rows import Rows
from plmtrain.keyed_random import Keys
from plmtrain.objectives.rtd import ReplacedTokenDetection, RTDLearner
from plmtrain.settings.models.disentangled import DisentangledSettings
from plmtrain.settings.models.encoder import EncoderSettings
from plmtrain.settings.objectives.rtd import RTDSettings
from plmtrain.text.vocabulary import Vocabulary

VOCABULARY = Vocabulary(120, {"pad": 0, "unk": 1, "cls": 2, "sep": 3, "mask": 4}, (0, 1, 2, 3, 4))
TINY = EncoderSettings(
    name="tiny", family="electra", layers=2, width=32, heads=2, feed_forward=64, embedding_width=24, positions=64
)

DISENTANGLED = DisentangledSettings(
    name="tiny",
    family="deberta_v2",
    layers=2,
    width=32,
    heads=2,
    feed_forward=64,
    embedding_width=24,
    positions=64,
    relative_positions=16,
    relative_buckets=8,
    normed_distances=True,
    shared_projections=True,
    key_bias=True,
)


def program(
    model: EncoderSettings | DisentangledSettings = TINY, vocabulary: Vocabulary = VOCABULARY, **changes: Any
) -> ReplacedTokenDetection:
    built = objectives.build(RTDSettings(name="test", **{"generator_width": 0.5, **changes}), model, vocabulary)
    assert isinstance(built, ReplacedTokenDetection)
    return built


def learner(of: ReplacedTokenDetection, seed: int = 0, std: float | None = None) -> RTDLearner:
    torch.manual_seed(seed)
    built = of.build(lambda model: backbones.build(model, of.vocabulary.size))
    if std is not None:  # every parameter away from zeros and ones, where errors hide
        for parameter in built.parameters():
            nn.init.normal_(parameter, std=std)
    return built


def text(seed: int, rows: int, width: int, *, ragged: bool = False) -> Rows:
    random = np.random.default_rng(seed)
    tokens = random.integers(5, VOCABULARY.size, (rows, width))
    tokens[random.random((rows, width)) < 0.05] = VOCABULARY["sep"]
    lengths = random.integers(1, width + 1, rows) if ragged else np.full(rows, width)
    return Rows(tokens=tokens, lengths=lengths, word_starts=random.random((rows, width)) < 0.7)


def keys(rows: int, epoch: int = 0, first: int = 0) -> Keys:
    return Keys(11, np.full(rows, epoch, np.int64), np.arange(first, first + rows))
