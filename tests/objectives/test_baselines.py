"""The losses that a validation is judged by, and the unigram loss that they are compared with, by their definitions in NumPy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from support.parallel_store import corpus

from plmtrain import backbones, objectives
from plmtrain.batch import Batch
from plmtrain.data.rows.pair_rows import PairRows
from plmtrain.data.rows.rows import Rows, RowSource
from plmtrain.data.rows.translations import Translations
from plmtrain.keyed_random import Keys
from plmtrain.programs.learner import Learner
from plmtrain.programs.program import AnyProgram, Program
from plmtrain.settings.models.encoder import EncoderSettings
from plmtrain.settings.objectives.base import ObjectiveSettings
from plmtrain.settings.objectives.masked_lm import MaskedLMSettings
from plmtrain.settings.objectives.nsp import NextSentenceSettings
from plmtrain.settings.objectives.rtd import RTDSettings
from plmtrain.settings.objectives.sop import SentenceOrderSettings
from plmtrain.settings.objectives.span_mlm import SpanMLMSettings
from plmtrain.settings.objectives.spanbert import SpanBERTSettings
from plmtrain.settings.objectives.tlm import TranslationLMSettings
from plmtrain.text.vocabulary import Vocabulary
from plmtrain.training.evaluation import evaluate
from plmtrain.training.group import Group
from plmtrain.training.step import Step

VOCABULARY = Vocabulary(64, {"pad": 0, "unk": 1, "cls": 2, "sep": 3, "mask": 4}, (0, 1, 2, 3, 4))
EMBEDDED = 72  # a run rounds the rows of its embedding up
UNIGRAM = 1 + np.random.default_rng(5).gamma(2.0, size=64)
TINY = EncoderSettings(name="tiny", layers=2, width=32, heads=2, feed_forward=64, positions=64)
ROWS, LENGTH = 24, 40

OBJECTIVES: dict[str, ObjectiveSettings] = {
    "masked_lm": MaskedLMSettings(name="masked_lm", random_tokens="all"),
    "span_mlm": SpanMLMSettings(name="span_mlm"),
    "spanbert": SpanBERTSettings(name="spanbert", position_width=20),
    "nsp": NextSentenceSettings(name="nsp"),
    "sop": SentenceOrderSettings(name="sop"),
    "rtd": RTDSettings(name="rtd", generator_width=0.5),
    "tlm": TranslationLMSettings(name="tlm"),
}
MODELS = {
    "rtd": TINY.model_copy(update={"family": "electra", "embedding_width": 24}),
    "tlm": TINY.model_copy(update={"family": "xlm", "segments": 0, "languages": ("en", "de"), "head_layer": False}),
}


@dataclass(frozen=True)
class Kept:
    """Rows in memory, some of which may be pairs."""

    rows: Rows

    def __len__(self) -> int:
        return len(self.rows)

    def fetch(self, indices: NDArray[np.int64]) -> Rows:
        by_row = ["tokens", "lengths", "word_starts", *(["segments", "labels"] if isinstance(self.rows, PairRows) else [])]
        return replace(self.rows, **{name: getattr(self.rows, name)[indices] for name in by_row})


def source(kind: str) -> RowSource:
    if kind == "tlm":
        return Translations(corpus(ROWS), LENGTH, translation_share=0.5, exponent=0.7)
    draw = np.random.default_rng(3)
    tokens = draw.choice(VOCABULARY.ordinary_ids, (ROWS, LENGTH))
    rows: dict[str, Any] = {
        "tokens": tokens,
        "lengths": draw.integers(4, LENGTH + 1, ROWS),
        "word_starts": draw.random((ROWS, LENGTH)) < 0.7,
        "text": tokens.reshape(-1).astype(np.uint16),
    }
    if kind not in ("nsp", "sop"):
        return Kept(Rows(**rows))
    segments = np.arange(LENGTH) >= rows["lengths"][:, None] // 2
    return Kept(PairRows(**rows, segments=segments.astype(np.int64), labels=np.arange(ROWS) % 2))


def made(kind: str, **changes: Any) -> tuple[AnyProgram, Learner]:
    """Return a program, and its learner with all parameters away from zeros and ones."""
    program = objectives.build(OBJECTIVES[kind].changed(changes), MODELS.get(kind, TINY), VOCABULARY)
    assert isinstance(program, Program)
    torch.manual_seed(0)
    torch.set_num_threads(1)
    learner = program.build(lambda model: backbones.build(model, EMBEDDED))
    with torch.no_grad():
        for parameter in learner.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return program, learner


def measured(program: AnyProgram, learner: Learner, rows: RowSource, unigram: NDArray[np.float64] | None) -> Mapping[str, float]:
    values = evaluate(Step(learner, "fp32"), program, rows, Group("cpu", 60, 1), batch_size=7, unigram=unigram)
    assert values is not None
    return values


def held_out(program: AnyProgram, rows: RowSource) -> Batch:
    """Return all held-out rows at once, with the noise of every validation."""
    return program.collate(rows.fetch(np.arange(len(rows))), Keys(0, np.zeros(len(rows), np.int64), np.arange(len(rows))))


def at_masks(learner: Learner, batch: Batch) -> tuple[float, float, int]:
    """Return the losses where a mask stands, the learner's and that by frequency, and the number of masks."""
    ids = batch.inputs.ids.numpy()
    original = ids.copy()
    original.reshape(-1)[batch.targets["positions"].numpy()] = batch.targets["labels"].numpy()
    with torch.no_grad():
        logits = learner.eval().token_scores(batch.inputs).double().numpy()
    hidden = ids == VOCABULARY["mask"]
    logits, labels = logits[hidden], original[hidden]
    losses = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(labels)), labels]
    return float(losses.mean()), float(UNIGRAM[labels].mean()), len(labels)


@pytest.mark.parametrize("kind", OBJECTIVES)
def test_the_loss_of_hidden_tokens_is_that_where_the_mask_stands(kind: str) -> None:
    """Over all held-out rows, in batches of another size; tokens that stand in the row as they are do not count."""
    (program, learner), rows = made(kind), source(kind)
    values = measured(program, learner, rows, UNIGRAM)
    batch = held_out(program, rows)
    loss, unigram, masks = at_masks(learner, batch)
    assert 10 < masks < len(batch.targets["labels"])
    assert values["hidden_loss"] == pytest.approx(loss, rel=1e-5)
    assert values["hidden_unigram_loss"] == pytest.approx(unigram, rel=1e-9)
    assert values["hidden_loss"] != pytest.approx(values["loss/mlm"], rel=1e-4)

    assert program.baseline is not None
    compared = program.baseline.compare(values)
    assert f"{loss:.3f} nats each" in compared
    assert f"their unigram loss {unigram:.3f}" in compared
    alone = measured(program, learner, rows, None)
    assert {name: values[name] for name in alone} == pytest.approx(alone)
    assert values.keys() - alone.keys() == {"hidden_unigram_loss"}
    assert program.baseline.compare(alone) == ""


@pytest.mark.parametrize("kind", OBJECTIVES)
def test_nothing_hidden_has_no_loss(kind: str) -> None:
    changes: dict[str, Any] = {"mask_share": 0.0, "random_share": 0.0, "random_tokens": "ordinary"}
    program, learner = made(kind, **changes)
    values = measured(program, learner, source(kind), UNIGRAM)
    assert values["loss/mlm"] > 0
    assert not [name for name in values if "hidden" in name]
    assert program.baseline is not None
    assert program.baseline.compare(values) == ""
