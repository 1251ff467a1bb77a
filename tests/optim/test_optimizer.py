"""The optimisers against NumPy's arithmetic, torch's own AdamW, and a restored copy of itself."""

from __future__ import annotations

import subprocess
import sys
from typing import Literal

import numpy as np
import pytest
import torch
from torch import nn

from plmtrain import backbones
from plmtrain.errors import CheckpointError
from plmtrain.optim.clipping import clip_by_global_norm
from plmtrain.optim.optimizer import build, load_state_tensors, state_tensors
from plmtrain.settings.models.two_stream import TwoStreamSettings
from plmtrain.settings.optimizer import OptimizerSettings


class Learner(nn.Module):
    """A table that is used twice, a dense layer, a norm, and a bias that is a matrix."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(7, 5)
        self.dense = nn.Linear(5, 5)
        self.norm = nn.LayerNorm(5)
        self.wide_norm = nn.LayerNorm([3, 5])
        self.output = nn.Linear(5, 7)
        self.output.weight = self.table.weight
        self.position_bias = nn.Parameter(torch.zeros(3, 5))
        self.frozen = nn.Parameter(torch.zeros(2, 2), requires_grad=False)


def learner(seed: int = 0) -> Learner:
    torch.manual_seed(seed)
    made = Learner()
    for parameter in made.parameters():
        nn.init.normal_(parameter.data)
    return made


def give_gradients(module: nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.randn(parameter.shape, generator=generator)


DECAYED = {"table.weight", "dense.weight", "position_bias"}


@pytest.mark.parametrize(("bias_correction", "decay_on"), [(True, "matrices"), (False, "matrices"), (True, "all")])
def test_updates_follow_the_formula(bias_correction: bool, decay_on: Literal["matrices", "all"]) -> None:
    settings = OptimizerSettings(
        lr=0.01,
        betas=(0.9, 0.98),
        eps=1e-3,
        weight_decay=0.1,
        weight_decay_on=decay_on,
        bias_correction=bias_correction,
        clip_norm=None,
    )
    made = learner()
    optimizer = build(made, settings)
    weights = {name: parameter.detach().double().numpy().copy() for name, parameter in made.named_parameters()}
    m = {name: np.zeros_like(value) for name, value in weights.items()}
    v = {name: np.zeros_like(value) for name, value in weights.items()}

    for t in range(1, 6):
        give_gradients(made, t)
        rate = 0.01 / t
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        for name, parameter in made.named_parameters():
            if parameter.grad is None:
                continue
            # google-research/bert, optimization.py: AdamWeightDecayOptimizer; the correction as in Kingma and Ba, algorithm 1
            g = parameter.grad.double().numpy()
            m[name] = 0.9 * m[name] + 0.1 * g
            v[name] = 0.98 * v[name] + 0.02 * g * g
            m_hat = m[name] / (1 - 0.9**t) if bias_correction else m[name]
            v_hat = v[name] / (1 - 0.98**t) if bias_correction else v[name]
            update = m_hat / (np.sqrt(v_hat) + 1e-3)
            if name in DECAYED or decay_on == "all":
                update += 0.1 * weights[name]
            weights[name] = weights[name] - rate * update
            np.testing.assert_allclose(parameter.detach().numpy(), weights[name], rtol=2e-5, atol=2e-6)
        optimizer.zero_grad()
    assert all(parameter.grad is None for parameter in made.parameters())


def test_bias_correction_equals_torchs_adamw_bit_for_bit() -> None:
    ours, theirs = learner(), learner()
    optimizer = build(ours, OptimizerSettings(lr=3e-3, eps=1e-6, weight_decay=0.05))
    named = dict(theirs.named_parameters())
    reference = torch.optim.AdamW(
        [
            {"params": [named[name] for name in DECAYED], "weight_decay": 0.05},
            {"params": [p for name, p in named.items() if name not in DECAYED and p.requires_grad], "weight_decay": 0.0},
        ],
        lr=3e-3,
        betas=(0.9, 0.999),
        eps=1e-6,
        fused=True,
    )
    for t in range(4):
        for module, stepped in ((ours, optimizer), (theirs, reference)):
            give_gradients(module, t)
            stepped.step()
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter, named[name], rtol=0, atol=0)


def test_decay_is_for_matrices_and_each_shared_parameter_stands_once() -> None:
    made = learner()
    decayed, rest = (group["params"] for group in build(made, OptimizerSettings(lr=1.0)).param_groups)
    names = {parameter: name for name, parameter in made.named_parameters()}
    assert sorted(names[parameter] for parameter in decayed) == sorted(DECAYED)
    assert sorted(names[parameter] for parameter in rest) == sorted(
        ["dense.bias", "norm.weight", "norm.bias", "wide_norm.weight", "wide_norm.bias", "output.bias"]
    )


def test_xlnet_s_attention_biases_decay_as_in_its_code() -> None:
    """zihangdai/xlnet, model_utils.py: AdamWeightDecayOptimizer includes r_w_bias, r_r_bias and r_s_bias, and omits other names
    with "bias" or "LayerNorm"."""
    backbone = backbones.build(TwoStreamSettings(name="x", layers=1, width=8, heads=2, feed_forward=8), 10)
    names = {parameter: name for name, parameter in backbone.named_parameters()}
    omitted = {names[parameter] for parameter in build(backbone, OptimizerSettings(lr=1.0)).param_groups[1]["params"]}
    linear = {name for name in names.values() if name.endswith("bias") and "attention." not in name}
    norms = {name for name in names.values() if "norm" in name}
    assert omitted == linear | norms


def test_parameters_without_gradients_stay_and_are_not_counted() -> None:
    made = learner()
    optimizer = build(made, OptimizerSettings(lr=0.1))
    give_gradients(made, 0)
    made.dense.weight.grad = None
    before = made.dense.weight.detach().clone()
    optimizer.step()
    assert torch.equal(made.dense.weight, before)
    assert optimizer.state[made.dense.weight]["step"] == 0
    assert optimizer.state[made.dense.bias]["step"] == 1


@pytest.mark.parametrize("bias_correction", [True, False])
def test_a_restored_optimizer_goes_on_bit_for_bit(bias_correction: bool) -> None:
    settings = OptimizerSettings(lr=0.01, bias_correction=bias_correction)
    straight = learner()
    optimizer = build(straight, settings)
    for t in range(3):
        give_gradients(straight, t)
        optimizer.step()
    saved = {name: tensor.clone() for name, tensor in state_tensors(optimizer, straight.named_parameters()).items()}

    resumed = learner(seed=1)
    resumed.load_state_dict(straight.state_dict())
    second = build(resumed, settings)
    load_state_tensors(second, resumed.named_parameters(), saved)
    for t in range(3, 6):
        for module, stepped in ((straight, optimizer), (resumed, second)):
            give_gradients(module, t)
            stepped.step()
    for name, parameter in resumed.named_parameters():
        assert torch.equal(parameter, straight.get_parameter(name)), name
    ends = (state_tensors(optimizer, straight.named_parameters()), state_tensors(second, resumed.named_parameters()))
    assert ends[0].keys() == ends[1].keys()
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])
    assert float(ends[1]["dense.weight.step"]) == 6


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda saved: saved.pop("dense.bias.step"), "lacks tensor dense.bias.step"),
        (lambda saved: saved.update({"other.exp_avg": torch.zeros(1)}), "unknown tensor other.exp_avg"),
        (lambda saved: saved.update({"dense.bias.exp_avg": torch.zeros(4)}), "dense.bias.exp_avg"),
        (lambda saved: saved.update({"dense.bias.exp_avg": torch.zeros(5).double()}), "dense.bias.exp_avg"),
    ],
)
def test_another_learners_state_is_refused(change, told: str) -> None:
    made = learner()
    optimizer = build(made, OptimizerSettings(lr=0.1))
    saved = state_tensors(optimizer, made.named_parameters())
    change(saved)
    with pytest.raises(CheckpointError, match=told):
        load_state_tensors(optimizer, made.named_parameters(), saved)


@pytest.mark.parametrize("max_norm", [0.5, 1e6, None])
def test_clipping_scales_to_the_limit(max_norm: float | None) -> None:
    made = learner()
    give_gradients(made, 3)
    before = {name: p.grad.double().numpy().copy() for name, p in made.named_parameters() if p.grad is not None}
    norm = np.sqrt(sum((gradient**2).sum() for gradient in before.values()))
    measured = clip_by_global_norm(made.parameters(), max_norm)
    assert float(measured) == pytest.approx(norm, rel=1e-6)
    factor = 1.0 if max_norm is None else max_norm / max(norm, max_norm)
    for name, gradient in before.items():
        np.testing.assert_allclose(made.get_parameter(name).grad.numpy(), gradient * factor, rtol=1e-5)


def test_clipping_tells_of_what_is_not_finite() -> None:
    made = learner()
    give_gradients(made, 3)
    made.dense.bias.grad[2] = torch.inf
    assert not torch.isfinite(clip_by_global_norm(made.parameters(), 1.0))
    assert clip_by_global_norm([nn.Parameter(torch.zeros(2))], 1.0) == 0


def test_no_optimizer_dropout_or_module_without_weights_imports_the_compiler() -> None:
    program = (
        "import sys, torch\n"
        "from plmtrain.nn.initialisation import initialise, without_weights\n"
        "with without_weights():\n"
        "    for truncated in (False, True):\n"
        "        initialise(torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Embedding(2, 2)), 0.02, truncated)\n"
        "from plmtrain.optim.optimizer import build\n"
        "from plmtrain.settings.optimizer import OptimizerSettings\n"
        "module = torch.nn.Linear(2, 2)\n"
        "optimizer = build(module, OptimizerSettings(lr=1.0))\n"
        "module(torch.ones(2)).sum().backward()\n"
        "optimizer.step()\n"
        "optimizer.zero_grad()\n"
        "from plmtrain.nn.dropout import dropout\n"
        "dropout(torch.ones(2), 0.5, True)\n"
        "assert 'torch._dynamo' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
