"""Students and teachers with all parameters away from zeros and ones, for tests of distillation."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from support.finished_run import randomised
from support.memory_rows import VOCABULARY, MemoryRows

from plmtrain import backbones, objectives
from plmtrain.batch import Batch
from plmtrain.data.rows.rows import Rows
from plmtrain.keyed_random import Keys
from plmtrain.programs.learner import Learner
from plmtrain.settings.models.encoder import EncoderSettings
from plmtrain.settings.objectives.distillation import DistillationSettings
from plmtrain.settings.objectives.masked_lm import MaskedLMSettings

SHAPE: dict[str, Any] = {"name": "tiny", "heads": 2, "feed_forward": 32, "positions": 32}
TEACHER = EncoderSettings(**SHAPE, layers=4, width=16)
STUDENT = EncoderSettings(**{**SHAPE, "family": "distilbert"}, layers=2, width=16, segments=0, dropout=0.0, attention_dropout=0.0)


def built(settings: Any, model: EncoderSettings, seed: int) -> tuple[Any, Learner]:
    program = objectives.build(settings, model, VOCABULARY)
    torch.manual_seed(seed)
    learner = program.build(lambda shape: backbones.build(shape, VOCABULARY.size))
    randomised(learner, seed)
    return program, learner


def pupil(model: EncoderSettings = STUDENT, **changes: Any) -> tuple[Any, Learner, Learner]:
    """A program, its learner, and a teacher, with all parameters away from zeros and ones."""
    program, learner = built(DistillationSettings(name="distillation", **changes), model, 1)
    return program, learner.train(), built(MaskedLMSettings(name="mlm"), TEACHER, 2)[1].eval()


def rows(count: int = 5, length: int = 12) -> Rows:
    """Rows of several lengths."""
    whole = MemoryRows(count, length).fetch(np.arange(count))
    return replace(whole, lengths=np.arange(length - count + 1, length + 1))


def taught(program: Any, teacher: Learner, given: Rows | None = None) -> Batch:
    given = rows() if given is None else given
    batch = program.collate(given, Keys(1, np.zeros(len(given), np.int64), np.arange(len(given))))
    with torch.no_grad():
        return replace(batch, lessons=program.lessons(teacher, batch))


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)
