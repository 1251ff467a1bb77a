"""LAMB against the paper's and ALBERT's arithmetic in NumPy, and a restored copy of itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from plmtrain.nn.attention import JoinedLinear
from plmtrain.optim.optimizer import build, load_state_tensors, state_tensors
from plmtrain.settings.optimizer import OptimizerSettings


class Learner(nn.Module):
    """A table that is used twice, three joined layers, a norm, and a matrix of zeros."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.table = nn.Embedding(7, 4)
        self.joined = JoinedLinear(4, 3)
        self.norm = nn.LayerNorm(4)
        self.output = nn.Linear(4, 7)
        self.output.weight = self.table.weight
        self.zeros = nn.Linear(4, 4, bias=False)
        for parameter in self.parameters():
            nn.init.normal_(parameter.data)
        self.zeros.weight.data.zero_()


def give_gradients(module: nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)


def settings(**given: Any) -> OptimizerSettings:
    return OptimizerSettings(**{"type": "lamb", "lr": 0.01, "betas": (0.9, 0.99), "eps": 1e-3, "weight_decay": 0.1, **given})


@pytest.mark.parametrize("bias_correction", [True, False])
@pytest.mark.parametrize("weight_decay", [0.1, 0.0])
def test_updates_follow_the_formula(bias_correction: bool, weight_decay: float) -> None:
    made = Learner()
    optimizer = build(made, settings(bias_correction=bias_correction, weight_decay=weight_decay))
    weights = {name: parameter.detach().double().numpy().copy() for name, parameter in made.named_parameters()}
    m = {name: np.zeros_like(value) for name, value in weights.items()}
    v = {name: np.zeros_like(value) for name, value in weights.items()}
    adapted = {"table.weight": 1, "joined.weight": 3, "zeros.weight": 1}

    for t in range(1, 6):
        give_gradients(made, t)
        rate = 0.02 / t
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        for name, parameter in made.named_parameters():
            assert parameter.grad is not None
            g = parameter.grad.double().numpy()
            m[name] = 0.9 * m[name] + 0.1 * g
            v[name] = 0.99 * v[name] + 0.01 * g * g
            # You et al. 2020, algorithm 2; ALBERT's lamb_optimizer.py leaves the correction out
            m_hat = m[name] / (1 - 0.9**t) if bias_correction else m[name]
            v_hat = v[name] / (1 - 0.99**t) if bias_correction else v[name]
            update = m_hat / (np.sqrt(v_hat) + 1e-3)
            parts = []
            # Queries, keys and values are variables of their own there.
            for w, u in zip(np.split(weights[name], adapted.get(name, 1)), np.split(update, adapted.get(name, 1)), strict=True):
                if name in adapted:
                    u = u + weight_decay * w
                    w_norm, u_norm = np.linalg.norm(w), np.linalg.norm(u)
                    u = u * (w_norm / u_norm if w_norm > 0 and u_norm > 0 else 1.0)
                parts.append(w - rate * u)
            weights[name] = np.concatenate(parts)
            np.testing.assert_allclose(parameter.detach().numpy(), weights[name], rtol=2e-5, atol=2e-6)


def test_a_step_is_as_long_as_the_rate_says() -> None:
    """The trust ratio's meaning: however large the gradient, a matrix moves by lr times its own length."""
    for scale in (1e-3, 1e3):
        made = Learner()
        optimizer = build(made, settings(eps=1e-12, weight_decay=0.0))
        before = made.table.weight.detach().clone()
        give_gradients(made, 1)
        made.table.weight.grad *= scale  # type: ignore[operator]
        optimizer.step()
        moved = float((made.table.weight.detach() - before).norm())
        assert moved == pytest.approx(0.01 * float(before.norm()), rel=1e-4)


def test_without_gradients_nothing_moves() -> None:
    made = Learner()
    optimizer = build(made, settings())
    give_gradients(made, 0)
    made.joined.weight.grad = None
    before = made.joined.weight.detach().clone()
    optimizer.step()
    assert torch.equal(made.joined.weight, before)
    assert optimizer.state[made.joined.weight]["step"] == 0


@pytest.mark.parametrize("bias_correction", [True, False])
def test_a_restored_optimizer_goes_on_bit_for_bit(bias_correction: bool) -> None:
    straight = Learner()
    optimizer = build(straight, settings(bias_correction=bias_correction))
    for t in range(3):
        give_gradients(straight, t)
        optimizer.step()
    saved = {name: tensor.clone() for name, tensor in state_tensors(optimizer, straight.named_parameters()).items()}

    resumed = Learner(seed=1)
    resumed.load_state_dict(straight.state_dict())
    second = build(resumed, settings(bias_correction=bias_correction))
    load_state_tensors(second, resumed.named_parameters(), saved)
    for t in range(3, 6):
        for module, stepped in ((straight, optimizer), (resumed, second)):
            give_gradients(module, t)
            stepped.step()
    for name, parameter in resumed.named_parameters():
        assert torch.equal(parameter, straight.get_parameter(name)), name
    ends = (state_tensors(optimizer, straight.named_parameters()), state_tensors(second, resumed.named_parameters()))
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])
