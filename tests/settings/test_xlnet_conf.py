"""XLNet's YAML files say what the paper says."""

from __future__ import annotations

from typing import Any

import pytest

from plmtrain.errors import SettingsErrors
from plmtrain.settings.composing.compose import compose
from plmtrain.settings.decode import pretrain_settings
from plmtrain.settings.models.two_stream import TwoStreamSettings
from plmtrain.settings.objectives.plm import PermutationLMSettings

TEXT = ("data=text", "data.files=[x]")


def settings(*overrides: str) -> Any:
    return pretrain_settings(compose(["objective=plm", *overrides]))


@pytest.mark.parametrize(("model", "shape"), [("xlnet", (12, 768, 12, 3072)), ("xlnet_large", (24, 1024, 16, 4096))])
def test_published_shapes(model: str, shape: tuple[int, ...]) -> None:
    made = settings(f"model={model}").model
    assert isinstance(made, TwoStreamSettings)
    assert (made.layers, made.width, made.heads, made.feed_forward) == shape
    assert (made.norm_eps, made.dropout, made.attention_dropout, made.initial_std) == (1e-12, 0.1, 0.1, 0.02)


@pytest.mark.parametrize("size", ["tiny", "mini", "small", "base", "large"])
def test_a_size_rescales_it(size: str) -> None:
    made, bert = settings("model=xlnet", f"size={size}"), pretrain_settings(compose(["model=bert", f"size={size}"]))
    scaled = {"layers", "width", "heads", "feed_forward", "dropout", "attention_dropout"}
    assert made.model.model_dump(include=scaled) == bert.model.model_dump(include=scaled)
    assert made.model.model_dump(exclude=scaled) == settings("model=xlnet").model.model_dump(exclude=scaled)
    assert made.optimizer.lr == bert.optimizer.lr


def test_the_tokenizer_is_the_familys() -> None:
    made = settings("model=xlnet", *TEXT).tokenizer
    assert (made.type, made.family, made.vocab_size, made.lowercase) == ("unigram", "xlnet", 32_000, False)


def test_the_experiment_is_table_7() -> None:
    made = pretrain_settings(compose(["experiment=xlnet", *TEXT]))
    objective = made.objective
    assert isinstance(objective, PermutationLMSettings)
    assert (made.model.name, objective.name, made.trainer.sequence_length, made.trainer.batch_size) == (
        "xlnet_large",
        "plm",
        512,
        8192,
    )
    assert (made.optimizer.lr, made.optimizer.eps, made.optimizer.weight_decay) == (4e-4, 1e-6, 0.01)
    assert (made.schedule.type, made.schedule.warmup, made.trainer.steps) == ("linear", 40_000, 500_000)
    assert (objective.context, objective.num_predict, objective.perm_size) == (6, 85, 256)
    assert (objective.reuse_len, objective.mem_len, objective.random_share, objective.max_gram) == (256, 384, 0.5, 5)


def test_other_pairs_are_refused_at_once() -> None:
    with pytest.raises(SettingsErrors, match="objective=plm needs a backbone of kind two_stream; model=bert is of kind encoder"):
        settings("model=bert")
    with pytest.raises(SettingsErrors, match="objective=dynamic_mlm needs a backbone of kind"):
        pretrain_settings(compose(["model=xlnet"]))


def test_a_width_of_odd_halves_is_refused() -> None:
    with pytest.raises(SettingsErrors, match=r"model\.width"):
        settings("model=xlnet", "model.width=33", "model.heads=3")
