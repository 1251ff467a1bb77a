"""How weights start."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from plmtrain.nn.heads import MaskedLMHead, Pooler
from plmtrain.nn.initialisation import initialise, without_weights


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
