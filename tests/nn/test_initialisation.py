"""How weights start."""

from __future__ import annotations

import math

import pytest
import torch
from support.replaced_tokens import learner, program
from torch import Tensor, nn

from plmtrain import backbones
from plmtrain.nn.heads import MaskedLMHead, Pooler, ReplacedTokenHead
from plmtrain.nn.initialisation import initialise, without_weights
from plmtrain.settings.composing.compose import compose
from plmtrain.settings.decode import pretrain_settings
from plmtrain.settings.models.encoder import EncoderSettings
from plmtrain.settings.models.two_stream import TwoStreamSettings


def _module() -> nn.Module:
    torch.manual_seed(0)
    module = nn.ModuleList([nn.Linear(300, 400), nn.Embedding(500, 300), nn.LayerNorm(300)])
    for parameter in module.parameters():
        nn.init.constant_(parameter, 7.0)
    return module


def test_normal_weights() -> None:
    module = _module()
    initialise(module, 0.02, truncated=False)
    for weight in (module[0].weight, module[1].weight):
        assert abs(weight.std() - 0.02) < 2e-4
        assert abs(weight.mean()) < 3e-4
        assert weight.abs().max() > 0.06
    assert (module[0].bias == 0).all()
    assert (module[2].weight == 1).all()
    assert (module[2].bias == 0).all()


def test_truncated_weights() -> None:
    module = _module()
    initialise(module, 0.02, truncated=True)
    for weight in (module[0].weight, module[1].weight):
        assert weight.abs().max() <= 0.04
        assert abs(weight.std() - 0.02 * 0.8796) < 2e-4  # a normal distribution cut at two standard deviations


def test_heads_start_alike_and_from_the_seed() -> None:
    def head(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return MaskedLMHead(200, 100, 50, "gelu", 1e-12, initial_std=0.1).dense.weight.detach()

    assert torch.equal(head(1), head(1))
    assert abs(head(1).std() - 0.1) < 5e-3
    assert abs(Pooler(200).dense.weight.std() - 0.02) < 1e-3


def assert_uniform(weight: Tensor, bound: float) -> None:
    """Within the bound, nearly up to it, and as wide as a uniform distribution."""
    weight = weight.detach()
    assert 0.95 * bound < weight.abs().max() <= bound
    assert float(weight.std()) == pytest.approx(bound / math.sqrt(3), rel=0.15)


def test_xlm_s_weights_follow_their_widths() -> None:
    """facebookresearch/XLM, transformer.py: Embedding has a deviation of width^-1/2; Linear is torch's own, biases included."""
    torch.manual_seed(0)
    settings = EncoderSettings(
        name="x", family="xlm", layers=1, width=96, heads=2, feed_forward=384, segments=0, initial_by_width=True
    )
    backbone = backbones.build(settings, 300)
    linear = [part for part in backbone.modules() if isinstance(part, nn.Linear)]
    assert {part.in_features for part in linear} == {96, 384}
    for part in linear:
        for parameter in (part.weight, part.bias):
            assert_uniform(parameter, part.in_features**-0.5)
    assert float(backbone.embedding_weight.detach().std()) == pytest.approx(96**-0.5, rel=0.02)


def test_layers_that_electra_s_code_leaves_to_tensorflow_are_drawn_by_glorot_s_rule() -> None:
    """google-research/electra: embeddings_project of modeling.py, and the last layer of _get_discriminator_output, have no
    initialiser; TensorFlow then draws uniformly within sqrt(6 / (inputs + outputs))."""
    torch.manual_seed(0)
    assert_uniform(ReplacedTokenHead(512, "gelu", initial_glorot=True).score.weight, math.sqrt(6 / 513))
    shape = EncoderSettings(
        name="x", family="electra", layers=1, width=96, heads=2, feed_forward=64, embedding_width=48, initial_glorot=True
    )
    made = learner(program(shape, generator_width=0.75))
    assert made.head.score.weight.abs().max() > 0.1
    for backbone, width in ((made.backbone, 96), (made.generator, 72)):
        assert_uniform(backbone.embeddings.projection.weight, math.sqrt(6 / (48 + width)))  # type: ignore[union-attr]
    other = backbones.build(shape.model_copy(update={"initial_glorot": False}), 100)
    weight = other.embeddings.projection.weight.detach()  # type: ignore[union-attr]
    assert float(weight.std()) == pytest.approx(0.02, rel=0.05)


@pytest.mark.parametrize("model", ["electra_small", "electra", "electra_large"])
def test_electra_s_models_say_so(model: str) -> None:
    made = pretrain_settings(compose([f"model={model}", "objective=rtd"])).model
    assert isinstance(made, EncoderSettings)
    assert made.initial_glorot


def test_xlnet_s_first_query_state_is_drawn_by_glorot_s_rule() -> None:
    """zihangdai/xlnet, modeling.py: mask_emb of shape [1, 1, width] has no initialiser."""
    torch.manual_seed(0)
    backbone = backbones.build(TwoStreamSettings(name="x", layers=1, width=512, heads=2, feed_forward=8), 10)
    assert_uniform(backbone.mask, math.sqrt(6 / 513))  # type: ignore[arg-type]


@pytest.mark.parametrize("truncated", [False, True])
def test_without_weights_there_are_shapes_alone(truncated: bool) -> None:
    with without_weights():
        module = nn.ModuleList(
            [nn.Linear(300, 400), nn.Embedding(500, 300), nn.LayerNorm(300), MaskedLMHead(20, 8, 8, "gelu", 1e-5)]
        )
        initialise(module, 0.02, truncated)
    assert {parameter.device.type for parameter in module.parameters()} == {"meta"}
    assert module[0].weight.shape == (400, 300)
    assert nn.Linear(3, 4).weight.device.type == "cpu"
    assert nn.init.normal_(torch.zeros(9)).any()
