"""Permutation language modelling on random streams: a tiny XLNet, its rows, and its targets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from plmtrain import backbones, objectives
from plmtrain.batch import Batch
from plmtrain.data.corpus.store import Store
from plmtrain.data.rows.streams import Streams
from plmtrain.keyed_random import Keys
from plmtrain.objectives.plm import PermutationLM, PermutationLMLearner
from plmtrain.settings.models.two_stream import TwoStreamSettings
from plmtrain.settings.objectives.plm import PermutationLMSettings
from plmtrain.text.vocabulary import Vocabulary

VOCABULARY = Vocabulary(120, {"unk": 0, "cls": 3, "sep": 4, "pad": 5, "mask": 6}, (0, 1, 2, 3, 4, 5, 6, 7, 8))
TINY = TwoStreamSettings(name="tiny", layers=2, width=32, heads=2, feed_forward=64)


def program(model: TwoStreamSettings = TINY, **changes: Any) -> PermutationLM:
    built = objectives.build(PermutationLMSettings(name="test", **changes), model, VOCABULARY)
    assert isinstance(built, PermutationLM)
    return built


def streams(plm: PermutationLM, length: int, count: int, *, tokens: int = 3000, isolate: bool = False, seed: int = 0) -> Streams:
    """Random text of sentences and documents with their ends, some words of several tokens, as the objective reads it."""
    draw = np.random.default_rng(seed)
    text = draw.choice(VOCABULARY.ordinary_ids, tokens)
    documents = np.unique([0, *draw.integers(30, tokens, tokens // 100), tokens])
    text[documents[1:] - 1] = VOCABULARY["sep"]
    text[draw.random(tokens) < 0.01] = VOCABULARY["unk"]
    starts = (draw.random(tokens) < 0.7) | VOCABULARY.is_special[text]
    sentences = np.union1d(documents, np.unique(draw.integers(1, tokens, tokens // 9)))
    store = Store(Path("memory"), "train", text.astype(np.uint16), documents, sentences, starts)
    shape = plm.row_shape(length)
    return Streams(
        store,
        shape.length,
        count,
        advance=shape.advance,
        others=shape.others,
        isolate_documents=isolate,
    )


def keys(samples: np.ndarray, epoch: int = 0) -> Keys:
    return Keys(11, np.full(len(samples), epoch, np.int64), np.asarray(samples))


def batch_at(plm: PermutationLM, source: Streams, time: int, epoch: int = 0) -> Batch:
    samples = time * source.streams + np.arange(source.streams)
    return plm.collate(source.fetch(samples), keys(samples, epoch))


def targets(batch: Batch) -> list[list[int]]:
    """The predicted columns of each row."""
    width = batch.targets["places"].shape[1]
    row, turn = batch.targets["positions"] // max(1, width), batch.targets["positions"] % max(1, width)
    columns = batch.targets["places"][row, turn]
    return [columns[row == one].tolist() for one in range(len(batch.inputs.ids))]


def learner(plm: PermutationLM, seed: int = 0) -> PermutationLMLearner:
    torch.manual_seed(seed)
    built = plm.build(lambda model: backbones.build(model, VOCABULARY.size))
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return built
