"""Muon against singular values, torch's own, and AdamW on what is no hidden matrix."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.tiny_run import TinyRun
from torch import nn

from plmtrain import backbones
from plmtrain.nn.attention import JoinedLinear
from plmtrain.optim.muon import orthogonalise
from plmtrain.optim.optimizer import build, load_state_tensors, state_tensors
from plmtrain.settings.models.bilstm import BiLSTMSettings
from plmtrain.settings.models.decoder import DecoderSettings
from plmtrain.settings.models.encoder import EncoderSettings
from plmtrain.settings.models.encoder_decoder import EncoderDecoderSettings
from plmtrain.settings.models.two_stream import TwoStreamSettings
from plmtrain.settings.optimizer import OptimizerSettings
from plmtrain.settings.rules import broken_rules
from plmtrain.settings.trainer import TrainerSettings
from plmtrain.training.hidden_matrices import hidden_matrices


def singular_values_after(values: np.ndarray) -> np.ndarray:
    """Jordan et al. 2024: the polynomial, five times, on the values of a matrix of norm 1."""
    values = values / np.linalg.norm(values)
    for _ in range(5):
        values = 3.4445 * values - 4.7750 * values**3 + 2.0315 * values**5
    return values


@pytest.mark.parametrize("shape", [(6, 6), (4, 9), (9, 4)])
def test_singular_vectors_stay_and_values_come_near_1(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    matrices = torch.randn(3, *shape)
    for before, after in zip(matrices.double().numpy(), orthogonalise(matrices).double().numpy(), strict=True):
        left, values, right = np.linalg.svd(before, full_matrices=False)
        np.testing.assert_allclose(left.T @ after @ right.T, np.diag(singular_values_after(values)), atol=1e-4)
    assert not orthogonalise(torch.zeros(1, *shape)).any()


def learner() -> nn.Module:
    torch.manual_seed(0)
    made = nn.ModuleDict(
        {"table": nn.Embedding(7, 8), "joined": JoinedLinear(8, 3), "up": nn.Linear(8, 20), "norm": nn.LayerNorm(8)}
    )
    for parameter in made.parameters():
        nn.init.normal_(parameter.data)
    return made


MUON = OptimizerSettings(type="muon", lr=0.02, betas=(0.9, 0.98), weight_decay=0.1, momentum=0.9)


def updated(module: nn.Module, settings: OptimizerSettings, hidden: set[nn.Parameter], steps: int) -> None:
    optimizer = build(module, settings, hidden=hidden)
    for step in range(steps):
        if step == 2:  # goes on from what was saved
            saved = {name: tensor.clone() for name, tensor in state_tensors(optimizer, module.named_parameters()).items()}
            optimizer = build(module, settings, hidden=hidden)
            load_state_tensors(optimizer, module.named_parameters(), saved)
        generator = torch.Generator().manual_seed(step)
        for parameter in module.parameters():
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        optimizer.step()


def test_hidden_matrices_are_updated_as_by_torchs_and_all_others_as_by_adamw() -> None:
    ours, other = learner(), learner()
    updated(ours, MUON, {ours["joined"].weight, ours["up"].weight}, steps=4)
    updated(other, OptimizerSettings(lr=0.02, betas=(0.9, 0.98), weight_decay=0.1), set(), steps=4)
    for name, parameter in ours.named_parameters():
        if name not in ("joined.weight", "up.weight"):
            assert torch.equal(parameter, other.get_parameter(name)), name

    start = learner()
    apart = [nn.Parameter(part.detach().clone()) for part in start["joined"].weight.chunk(3)]
    matrices = [*apart, nn.Parameter(start["up"].weight.detach().clone())]
    peer = torch.optim.Muon(matrices, lr=0.02, weight_decay=0.1, momentum=0.9, adjust_lr_fn="match_rms_adamw")
    for step in range(4):
        generator = torch.Generator().manual_seed(step)
        gradients = {name: torch.randn(parameter.shape, generator=generator) for name, parameter in start.named_parameters()}
        for matrix, gradient in zip(matrices, [*gradients["joined.weight"].chunk(3), gradients["up.weight"]], strict=True):
            matrix.grad = gradient.clone()
        peer.step()
    moved = (start["up"].weight - matrices[-1]).norm()
    for mine, theirs in ((ours["joined"].weight, torch.cat(matrices[:3])), (ours["up"].weight, matrices[3])):
        assert (mine - theirs).norm() < 0.02 * moved  # torch's own has 8 bits


SHAPE = {"name": "tiny", "layers": 2, "width": 8, "heads": 2, "feed_forward": 16, "positions": 16}


@pytest.mark.parametrize(
    ("settings", "per_layer"),
    [
        (EncoderSettings(**SHAPE), 4),
        (DecoderSettings(**SHAPE), 4),
        (EncoderSettings(**SHAPE, shared_layers=True), 2),  # one layer, twice
        (TwoStreamSettings(**SHAPE), 7),  # queries, keys, values and positions apart
        (EncoderDecoderSettings(**SHAPE, decoder_layers=2), 4 + 7),
    ],
)
def test_hidden_matrices_are_the_linear_layers_within_blocks(settings: Any, per_layer: int) -> None:
    backbone = backbones.build(settings, vocabulary_size=12)
    hidden = hidden_matrices(nn.Sequential(backbone, nn.Linear(8, 12)))
    assert len(hidden) == 2 * per_layer
    assert not hidden & set(backbone.embedding_parameters())
    assert {parameter.dim() for parameter in hidden} == {2}


@pytest.mark.parametrize(
    ("model", "trainer", "reason"),
    [
        (BiLSTMSettings(name="elmo"), {}, "has a recurrence"),
        (EncoderSettings(**SHAPE), {"sharding": "full", "sequence_length": 16}, "needs whole matrices"),
    ],
)
def test_where_there_are_no_whole_matrices_it_is_refused(model: Any, trainer: dict[str, Any], reason: str) -> None:
    sections = {"model": model, "optimizer": MUON, "trainer": TrainerSettings(**trainer)}
    assert [reason in str(broken) for broken in broken_rules(sections)] == [True]


@pytest.mark.parametrize("kind", ["adamw", "lamb", "adafactor"])
def test_momentum_is_for_muon(kind: str) -> None:
    with pytest.raises(ValueError, match=f"momentum has no meaning for type {kind}; it is for muon"):
        OptimizerSettings(type=kind, lr=0.1, momentum=0.5)


def test_products_in_bf16_are_those_in_fp32_but_for_their_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    """On CPUs with and without units for bf16, by singular values that the polynomial brings near 1."""
    torch.manual_seed(0)
    matrices = torch.randn(3, 40, 24)
    exact = orthogonalise(matrices)
    values = {}
    for lacks in (False, True):
        monkeypatch.setattr("plmtrain.nn.bf16_products.cpu_lacks_bf16", lambda lacks=lacks: lacks)
        rounded = values[lacks] = orthogonalise(matrices, torch.bfloat16)
        assert rounded.dtype == torch.float32
        assert torch.equal(rounded, rounded.bfloat16().float())
        assert not torch.equal(rounded, exact)
        assert (rounded - exact).norm() < 0.03 * exact.norm()
    assert (values[True] - values[False]).norm() < 0.01 * exact.norm()


@pytest.mark.parametrize(("kind", "lost"), [(torch.bfloat16, True), (torch.float32, False)])
def test_the_optimiser_computes_updates_in_the_type_it_is_given(kind: torch.dtype, lost: bool) -> None:
    made = learner()
    before = made["up"].weight.detach().clone()
    optimizer = build(made, OptimizerSettings(type="muon", lr=1.0, weight_decay=0.0), hidden={made["up"].weight}, products=kind)
    made["up"].weight.grad = torch.randn(before.shape, generator=torch.Generator().manual_seed(1))
    optimizer.step()
    update = (made["up"].weight - before) / (0.2 * 20**0.5)
    assert torch.allclose(update, update.bfloat16().float(), rtol=1e-5, atol=1e-6) == lost


@pytest.mark.parametrize(("precision", "kind"), [("bf16", torch.bfloat16), ("fp32", torch.float32)])
def test_a_run_gives_the_optimiser_its_own_type(tmp_path: Path, precision: str, kind: torch.dtype) -> None:
    state = TinyRun(tmp_path / "run", ("optimizer=muon", f"trainer.precision={precision}")).trainer().state
    assert state.optimizer.products == kind
