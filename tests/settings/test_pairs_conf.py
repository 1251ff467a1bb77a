"""The recipes of BERT and ALBERT say what the papers say, and what cannot be with pairs is refused."""

from __future__ import annotations

from typing import Any

import pytest

from plmtrain.data.loading.order import plan_phases
from plmtrain.errors import SettingsErrors
from plmtrain.settings.composing.compose import compose
from plmtrain.settings.decode import pretrain_settings
from plmtrain.settings.objectives.nsp import NextSentenceSettings
from plmtrain.settings.objectives.sop import SentenceOrderSettings

TEXT = ("data=text", "data.files=[x]")


def settings(*overrides: str) -> Any:
    return pretrain_settings(compose([*overrides, *TEXT]))


def test_bert_is_appendix_a2() -> None:
    made = settings("experiment=bert")
    objective = made.objective
    assert isinstance(objective, NextSentenceSettings)
    assert (made.model.name, objective.relation) == ("bert", "next")
    # 90 % of the steps at length 128, the rest at 512.
    phases = [(phase.first_step, phase.steps, phase.sequence_length, phase.batch_size) for phase in plan_phases(made.trainer)]
    assert phases == [(0, 900_000, 128, 256), (900_000, 100_000, 512, 256)]
    assert [phase.objective["max_predictions"] for phase in plan_phases(made.trainer)] == [20, 77]
    assert (made.optimizer.type, made.optimizer.bias_correction) == ("adamw", False)
    assert (made.optimizer.lr, made.optimizer.betas, made.optimizer.eps) == (1e-4, (0.9, 0.999), 1e-6)
    assert (made.optimizer.weight_decay, made.optimizer.clip_norm) == (0.01, 1.0)
    assert (made.schedule.type, made.schedule.warmup, made.schedule.decay_from) == ("linear", 10_000, "start")
    assert (made.model.dropout, made.model.attention_dropout) == (0.1, 0.1)
    assert (objective.mask_probability, objective.mask_share, objective.random_share) == (0.15, 0.8, 0.1)
    assert (objective.budget, objective.random_tokens, objective.whole_words) == ("round", "all", False)
    assert (objective.pair_copies, objective.copies, objective.short_share) == (10, 1, 0.1)


def test_albert_is_section_4_1() -> None:
    made = settings("experiment=albert")
    objective = made.objective
    assert isinstance(objective, SentenceOrderSettings)
    assert (made.model.name, objective.relation) == ("albert", "order")
    assert (made.trainer.steps, made.trainer.batch_size, made.trainer.sequence_length) == (125_000, 4096, 512)
    assert (made.optimizer.type, made.optimizer.bias_correction, made.optimizer.lr) == ("lamb", False, 0.00176)
    assert (made.optimizer.weight_decay, made.optimizer.clip_norm, made.optimizer.eps) == (0.01, 1.0, 1e-6)
    assert (made.schedule.type, made.schedule.warmup, made.schedule.decay_from) == ("linear", 3125, "start")
    assert (objective.max_ngram, objective.whole_words, objective.mask_probability) == (3, True, 0.15)
    assert (objective.pair_copies, objective.copies, objective.short_share) == (40, 1, 0.1)


@pytest.mark.parametrize("objective", ["nsp", "sop"])
@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("model=bart", "needs a backbone of kind encoder"),
        ("data.isolate_documents=true", "data.isolate_documents"),
        ("trainer.sequence_length=5", "has no room for two segments"),
        ("objective.short_share=1.5", "short_share"),
        ("objective.pair_copies=0", "pair_copies"),
    ],
)
def test_what_cannot_be_is_refused(objective: str, override: str, told: str) -> None:
    with pytest.raises(SettingsErrors, match=told):
        settings(f"objective={objective}", override)
