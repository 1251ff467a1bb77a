"""BART's YAML files say what the paper says, and a size rescales each of its two stacks."""

from __future__ import annotations

import pytest

from plmtrain.settings.composing.compose import compose
from plmtrain.settings.decode import pretrain_settings
from plmtrain.settings.models.encoder_decoder import EncoderDecoderSettings
from plmtrain.settings.objectives.bart import BartSettings
from plmtrain.settings.run import PretrainSettings


def settings(*overrides: str) -> PretrainSettings:
    return pretrain_settings(compose(overrides))


def shape(*overrides: str) -> tuple[int, int, int, int]:
    model = settings("objective=bart", *overrides).model
    assert isinstance(model, EncoderDecoderSettings)
    assert (model.positions, model.position_offset, model.norm_eps, model.activation) == (1024, 2, 1e-5, "gelu")
    return model.layers, model.width, model.heads, model.feed_forward


@pytest.mark.parametrize(("model", "expected"), [("bart", (6, 768, 12, 3072)), ("bart_large", (12, 1024, 16, 4096))])
def test_published_shapes(model: str, expected: tuple[int, ...]) -> None:
    assert shape(f"model={model}") == expected


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ("tiny", (2, 128, 2, 512)),
        ("mini", (3, 192, 3, 768)),
        ("small", (4, 256, 4, 1024)),
        ("base", (6, 768, 12, 3072)),
        ("large", (12, 1024, 16, 4096)),
    ],
)
@pytest.mark.parametrize("model", ["bart", "bart_large"])
def test_a_size_rescales_both_stacks(model: str, size: str, expected: tuple[int, ...]) -> None:
    """Base and large are the published shapes, whose stacks have half the blocks of an encoder of that size."""
    assert shape(f"model={model}", f"size={size}") == expected


@pytest.mark.parametrize(("size", "layers"), [("base", 12), ("large", 24)])
def test_encoders_keep_their_layers(size: str, layers: int) -> None:
    assert settings("model=bert", f"size={size}").model.model_dump()["layers"] == layers


def test_the_model_brings_its_tokenizer() -> None:
    made = settings("model=bart", "objective=bart", "data=text", "data.files=[x]").tokenizer
    assert (made.type, made.family, made.vocab_size, made.lowercase) == ("byte_bpe", "roberta", 50265, False)


def test_the_noise_is_that_of_section_5_1() -> None:
    objective = settings("model=bart", "objective=bart").objective
    assert isinstance(objective, BartSettings)
    assert (objective.permute, objective.infill, objective.span_mean) == (1.0, 0.3, 3.0)
    assert not any((objective.mask, objective.delete, objective.insert, objective.rotate, objective.random_share))


def test_the_experiment_is_the_paper_s_recipe() -> None:
    recipe = settings("experiment=bart", "data=text", "data.files=[x]")
    assert (recipe.model.name, recipe.objective.name, recipe.tokenizer.vocab_size) == ("bart_large", "bart", 50265)
    assert (recipe.trainer.steps, recipe.trainer.batch_size) == (500_000, 8000)
    assert (recipe.optimizer.betas, recipe.optimizer.clip_norm) == ((0.9, 0.98), None)
