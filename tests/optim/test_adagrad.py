"""Adagrad against TensorFlow's formula, and the settings that it does not have."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from plmtrain.optim.optimizer import build, load_state_tensors, state_tensors
from plmtrain.settings.optimizer import OptimizerSettings

ADAGRAD = {"type": "adagrad", "lr": 0.2, "eps": 1e-10, "weight_decay": 0.0}


def test_updates_follow_the_formula_and_a_restored_copy() -> None:
    """tensorflow/core/kernels/training_ops.cc, ApplyAdagrad: accum += grad^2; var -= lr * grad / sqrt(accum)."""
    torch.manual_seed(0)
    layer = nn.Linear(3, 4)
    settings = OptimizerSettings(**ADAGRAD, initial_accumulator=0.5)
    optimizer = build(layer, settings)
    weights = {name: parameter.detach().double().numpy().copy() for name, parameter in layer.named_parameters()}
    sums = {name: np.full_like(value, 0.5) for name, value in weights.items()}
    for step in range(4):
        if step == 2:  # goes on from what was saved
            saved = {name: tensor.clone() for name, tensor in state_tensors(optimizer, layer.named_parameters()).items()}
            assert saved.keys() == {"weight.sum", "bias.sum"}
            optimizer = build(layer, settings)
            load_state_tensors(optimizer, layer.named_parameters(), saved)
        for group in optimizer.param_groups:
            group["lr"] = rate = 0.2 / (step + 1)
        for name, parameter in layer.named_parameters():
            parameter.grad = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(step))
            gradient = parameter.grad.double().numpy()
            sums[name] += gradient**2
            weights[name] -= rate * gradient / np.sqrt(sums[name])
        optimizer.step()
        for name, parameter in layer.named_parameters():
            np.testing.assert_allclose(parameter.detach().numpy(), weights[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("key", "value"), [("betas", (0.9, 0.98)), ("bias_correction", False), ("decay_power", 0.5)])
def test_what_adagrad_does_not_have_is_refused(key: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"{key} has no meaning for type adagrad"):
        OptimizerSettings(**{**ADAGRAD, key: value})
    with pytest.raises(ValueError, match="initial_accumulator has no meaning for type adamw; it is for adagrad"):
        OptimizerSettings(lr=0.1, initial_accumulator=1.0)


def test_weight_decay_is_decoupled() -> None:
    layer = nn.Linear(3, 4, bias=False)
    before = layer.weight.detach().clone()
    optimizer = build(layer, OptimizerSettings(**{**ADAGRAD, "weight_decay": 0.1}, initial_accumulator=1.0))
    layer.weight.grad = torch.zeros_like(layer.weight)
    optimizer.step()
    torch.testing.assert_close(layer.weight.detach(), before * (1 - 0.2 * 0.1))
