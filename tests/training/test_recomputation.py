"""Activation checkpointing keeps less for the backward pass. That no result changes is shown for every program in test_resume."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from plmtrain import backbones
from plmtrain.batch import Inputs, Layout
from plmtrain.nn import bf16_products
from plmtrain.settings.composing.compose import compose
from plmtrain.settings.decode import pretrain_settings
from plmtrain.training.precision import autocast
from plmtrain.training.recomputation import recompute_blocks

SHAPE = "model.layers=6 model.width=16 model.heads=2 model.feed_forward=64 model.dropout=0.2".split()
SHORT = ["model.positions=32", "trainer.sequence_length=32"]


def kept(model: nn.Module, inputs: Inputs, at: Tensor | None = None) -> tuple[int, list[Tensor]]:
    """The numbers that a step keeps for its backward pass, and its gradients."""
    sizes: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        sizes[tensor.data_ptr()] = tensor.numel()
        return tensor

    torch.manual_seed(3)
    model.zero_grad()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        states = model.encode(inputs) if at is None else model.encode_at(inputs, at)
    states.square().sum().backward()
    weights = {parameter.data_ptr() for parameter in model.parameters()}
    return sum(size for place, size in sizes.items() if place not in weights), [
        parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None
    ]


def test_a_block_is_computed_again_in_bf16_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also on a CPU for which products of bf16 are widened: torch leaves that context when it begins a backward pass."""
    monkeypatch.setattr(bf16_products, "cpu_abilities", lambda: {"avx2": True, "avx512_f": False})
    model = backbones.build(pretrain_settings(compose(["model=gpt2", "objective=clm", *SHAPE, *SHORT])).model, 50).train()
    inputs = Inputs(ids=torch.arange(64).view(2, 32) % 50, layout=Layout(causal=True))
    gradients = []
    for recomputed in (False, True):
        if recomputed:
            recompute_blocks(model)
        torch.manual_seed(3)
        model.zero_grad()
        with autocast("bf16", torch.device("cpu")):
            states = model.encode(inputs)
        states.float().square().sum().backward()
        gradients.append([parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None])
    assert len(gradients[0]) > 50
    assert all(torch.equal(one, other) for one, other in zip(*gradients, strict=True))


def test_a_block_keeps_its_input_alone() -> None:
    model = backbones.build(pretrain_settings(compose(["model=gpt2", "objective=clm", *SHAPE, *SHORT])).model, 50).train()
    ids = torch.randint(0, 50, (4, 32), generator=torch.Generator().manual_seed(0))
    inputs = Inputs(ids=ids, layout=Layout(causal=True))
    economical = copy.deepcopy(model)
    recompute_blocks(economical)
    assert economical.state_dict().keys() == model.state_dict().keys()
    whole, gradients = kept(model, inputs)
    less, same = kept(economical, inputs)
    assert all(torch.equal(one, other) for one, other in zip(gradients, same, strict=True))
    of_a_state = ids.numel() * 16
    assert less < (6 + 4) * of_a_state  # the input of each block, and a little for embeddings and the last norm
    assert whole > 6 * 10 * of_a_state


@pytest.mark.parametrize("system", ["model=bert objective=mlm", "model=deberta objective=mlm"])
def test_so_does_the_last_block_where_a_loss_reads_some_positions(system: str) -> None:
    """Of one block the inner layer alone would be four states wide."""
    words = [*system.split(), *SHAPE[1:], "model.layers=1", "model.attention_dropout=0.2", *SHORT]
    model = backbones.build(pretrain_settings(compose(words)).model, 50).train()
    ids = torch.randint(0, 50, (4, 32), generator=torch.Generator().manual_seed(0))
    inputs, every_second = Inputs(ids=ids, layout=Layout(causal=False)), torch.arange(0, 128, 2)
    economical = copy.deepcopy(model)
    recompute_blocks(economical)
    whole, gradients = kept(model, inputs, every_second)
    less, same = kept(economical, inputs, every_second)
    assert all(torch.equal(one, other) for one, other in zip(gradients, same, strict=True))
    assert whole - less > 64 * (64 + 16)  # at least the inner layer and the input of its norm
