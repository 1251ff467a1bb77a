"""Adafactor against the paper's arithmetic in NumPy, transformers' Adafactor, and a restored copy of itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from transformers.optimization import Adafactor as TheirAdafactor

from plmtrain.nn.attention import JoinedLinear
from plmtrain.optim.optimizer import build, load_state_tensors, state_tensors
from plmtrain.settings.optimizer import OptimizerSettings


class Learner(nn.Module):
    """A table, three joined layers, a norm, and a layer that is too narrow to be factored."""

    def __init__(self, seed: int = 0, parts: int = 3) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.table = nn.Embedding(9, 6)
        self.joined = JoinedLinear(6, parts, 5)
        self.norm = nn.RMSNorm(6)
        self.narrow = nn.Linear(6, 2, bias=False)
        for parameter in self.parameters():
            nn.init.normal_(parameter.data)
        self.narrow.weight.data.zero_()


def give_gradients(module: nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator) * 10.0 ** (seed - 3)


def settings(**given: Any) -> OptimizerSettings:
    return OptimizerSettings(**{"type": "adafactor", "lr": 0.01, "eps": 1e-30, "weight_decay": 0.0, "factor_from": 4, **given})


def restated(weights: np.ndarray, gradients: list[np.ndarray], rates: list[float], *, factored: bool, scaled: bool) -> np.ndarray:
    """Shazeer and Stern 2018, algorithm 4 for matrices and 5 for vectors, with beta2 = 1 - t^-0.8, d = 1, the paper's
    epsilons."""
    w, r, c, v = weights.astype(np.float64), 0.0, 0.0, 0.0
    for t, (g, rate) in enumerate(zip(gradients, rates, strict=True), start=1):
        keep, alpha = 1 - t**-0.8, rate * (max(1e-3, np.sqrt(np.mean(w**2))) if scaled else 1.0)
        if factored:
            r = keep * r + (1 - keep) * np.sum(g**2 + 1e-30, axis=1)
            c = keep * c + (1 - keep) * np.sum(g**2 + 1e-30, axis=0)
            v = np.outer(r, c) / np.sum(r)
        else:
            v = keep * v + (1 - keep) * (g**2 + 1e-30)
        u = g / np.sqrt(v)
        w = w - alpha * u / max(1.0, np.sqrt(np.mean(u**2)))
    return w


@pytest.mark.parametrize("scaled", [True, False])
def test_updates_follow_the_paper(scaled: bool) -> None:
    made = Learner()
    optimizer = build(made, settings(scale_by_parameter=scaled))
    begun = {name: parameter.detach().numpy().copy() for name, parameter in made.named_parameters()}
    given: dict[str, list[np.ndarray]] = {name: [] for name in begun}
    rates = [0.02 / t for t in range(1, 7)]
    for t, rate in enumerate(rates, start=1):
        give_gradients(made, t)
        for name, parameter in made.named_parameters():
            given[name].append(parameter.grad.double().numpy())
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
    for name, parameter in made.named_parameters():
        parts = 3 if name == "joined.weight" else 1  # queries, keys and values are variables of their own there
        gradients = zip(*(np.split(gradient, parts) for gradient in given[name]), strict=True)
        factored = name in ("table.weight", "joined.weight")
        expected = [
            restated(weights, list(own), rates, factored=factored, scaled=scaled)
            for weights, own in zip(np.split(begun[name], parts), gradients, strict=True)
        ]
        np.testing.assert_allclose(parameter.detach().numpy(), np.concatenate(expected), rtol=1e-4, atol=1e-6, err_msg=name)
    assert {"table.weight.exp_avg_sq_row", "norm.weight.exp_avg_sq"} <= state_tensors(optimizer, made.named_parameters()).keys()


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_updates_are_those_of_transformers(weight_decay: float) -> None:
    """Which factors every matrix, knows no joined ones, and multiplies weight decay by the scale as well."""
    made, other = Learner(parts=1), Learner(parts=1)
    # With weight decay the scale is compared at one, where the two agree.
    scaled = weight_decay == 0
    ours = build(made, settings(factor_from=1, weight_decay=weight_decay, weight_decay_on="all", scale_by_parameter=scaled))
    theirs = TheirAdafactor(
        other.parameters(), lr=0.01, scale_parameter=scaled, relative_step=False, warmup_init=False, weight_decay=weight_decay
    )
    for t in range(1, 6):
        for module, stepped in ((made, ours), (other, theirs)):
            give_gradients(module, t)
            stepped.step()
        for name, parameter in made.named_parameters():
            torch.testing.assert_close(parameter, other.get_parameter(name), rtol=1e-4, atol=1e-6, msg=name)


def test_an_update_is_as_long_as_the_rate_says() -> None:
    """Relative to the matrix itself, however large the gradient: lr times its root mean square."""
    for scale in (1e-3, 1e3):
        made = Learner()
        optimizer = build(made, settings())
        before = made.table.weight.detach().clone()
        give_gradients(made, 1)
        made.table.weight.grad *= scale  # type: ignore[operator]
        optimizer.step()
        moved = (made.table.weight.detach() - before).square().mean().sqrt() / before.square().mean().sqrt()
        assert 0.008 < float(moved) <= 0.01 * (1 + 1e-5)


def test_a_restored_optimizer_goes_on_bit_for_bit() -> None:
    straight = Learner()
    optimizer = build(straight, settings())
    for t in range(3):
        give_gradients(straight, t)
        optimizer.step()
    saved = {name: tensor.clone() for name, tensor in state_tensors(optimizer, straight.named_parameters()).items()}
    resumed = Learner(seed=1)
    resumed.load_state_dict(straight.state_dict())
    second = build(resumed, settings())
    load_state_tensors(second, resumed.named_parameters(), saved)
    for t in range(3, 6):
        for module, stepped in ((straight, optimizer), (resumed, second)):
            give_gradients(module, t)
            module.norm.weight.grad = None  # not trained in this step, and not counted
            stepped.step()
    for name, parameter in resumed.named_parameters():
        assert torch.equal(parameter, straight.get_parameter(name)), name
    ends = (state_tensors(optimizer, straight.named_parameters()), state_tensors(second, resumed.named_parameters()))
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])
    assert ends[0]["norm.weight.step"] == 3 < ends[0]["table.weight.step"] == 6


def test_a_setting_that_another_algorithm_reads_is_refused() -> None:
    with pytest.raises(ValueError, match="betas has no meaning for type adafactor"):
        settings(betas=(0.9, 0.98))
    with pytest.raises(ValueError, match="clip_update has no meaning for type adamw"):
        OptimizerSettings(lr=0.1, clip_update=2.0)
