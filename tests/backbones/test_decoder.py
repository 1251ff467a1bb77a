"""The decoder: GPT-2 against transformers' class, banded attention, the cache, initial weights, and no leaks."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from support.finished_run import randomised
from support.gpt2_twin import VOCABULARY, twins
from torch import Tensor
from torch.nn import functional

from plmtrain.backbones.decoder import Decoder
from plmtrain.batch import Inputs, Layout
from plmtrain.settings.models.decoder import DecoderSettings

SHAPE: dict[str, Any] = {"name": "tiny", "layers": 4, "width": 16, "heads": 2, "feed_forward": 24, "positions": 40}
WINDOWS = (None, 1, 3, 5, 40)
NORMS = ("pre", "post")


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> None:
    torch.set_num_threads(1)


def decoder(**changes: Any) -> Decoder:
    made = randomised(Decoder(DecoderSettings(**{**SHAPE, **changes}), VOCABULARY))
    assert isinstance(made, Decoder)
    return made


def example(rows: int = 3, length: int = 17) -> Tensor:
    return torch.randint(0, VOCABULARY, (rows, length), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("side", ["right", "left"])
def test_hidden_states_loss_and_gradients_are_those_of_transformers(tmp_path: Path, side: str) -> None:
    theirs, ours = twins(tmp_path)
    ids = example()
    mask = torch.arange(17) < torch.tensor([17, 9, 1])[:, None]
    mask = mask if side == "right" else mask.flip(1)
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    expected = theirs(ids, attention_mask=mask.long(), position_ids=positions, output_hidden_states=True)
    inputs = Inputs(ids=ids, layout=Layout(tokens=mask, causal=True), positions=positions)
    states = ours.encode_layers(inputs)
    assert len(states) == len(expected.hidden_states)
    for ours_state, their_state in zip(states, expected.hidden_states, strict=True):
        torch.testing.assert_close(ours_state[mask], their_state[mask], atol=1e-5, rtol=1e-5)
    logits = states[-1] @ ours.embedding_weight.T
    torch.testing.assert_close(logits[mask], expected.logits[mask], atol=1e-4, rtol=1e-5)

    labels = ids.roll(-1, dims=1)[mask]
    functional.cross_entropy(expected.logits[mask], labels).backward()
    functional.cross_entropy(logits[mask], labels).backward()
    for block, layer in zip(theirs.transformer.h, ours.layers, strict=True):
        torch.testing.assert_close(
            layer.attention.query_key_value.weight.grad, block.attn.c_attn.weight.grad.T, atol=1e-5, rtol=1e-4
        )
        torch.testing.assert_close(layer.feed_forward_out.weight.grad, block.mlp.c_proj.weight.grad.T, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(ours.token.weight.grad, theirs.transformer.wte.weight.grad, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(ours.position.weight.grad, theirs.transformer.wpe.weight.grad, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("norm", NORMS)
def test_a_window_as_long_as_the_row_is_dense_attention(norm: str) -> None:
    dense, banded = decoder(norm=norm), decoder(norm=norm, window=17)
    inputs = Inputs(ids=example())
    torch.testing.assert_close(banded.encode(inputs), dense.encode(inputs), atol=0, rtol=0)


@pytest.mark.parametrize("window", [1, 2, 3, 5, 8, 16])
@pytest.mark.parametrize("divided", [False, True], ids=["one_document", "documents"])
def test_every_second_block_sees_its_window_and_nothing_else(window: int, divided: bool) -> None:
    """One block of each kind: the second one's reach is exactly the window, since what the first one mixes is cut off."""
    ids = example()
    documents = (torch.arange(17) // 6).expand(3, -1) if divided else None
    banded = decoder(layers=2, window=window)
    hidden = torch.randn(3, 17, 16, generator=torch.Generator().manual_seed(2), requires_grad=True)
    seen = banded._visibilities(Inputs(ids=ids, layout=Layout(documents=documents)), hidden)[1]
    mixed = banded.layers[1](hidden, seen)
    query, key = torch.arange(17)[:, None], torch.arange(17)
    expected = (key <= query) & (key > query - window)
    if divided:
        expected &= key // 6 == query // 6
    for place in range(17):
        (gradient,) = torch.autograd.grad(mixed[:, place].sum(), hidden, retain_graph=True)
        assert (gradient.abs().sum(-1) != 0).tolist() == [expected[place].tolist()] * 3


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("norm", NORMS)
def test_no_position_sees_a_later_one_or_another_document(norm: str, window: int | None) -> None:
    made = decoder(norm=norm, window=window)
    documents = (torch.arange(17) // 7).expand(3, -1)
    kept: list[Tensor] = []
    made.token.register_forward_hook(lambda module, given, embedded: kept.append(embedded.detach().requires_grad_()) or kept[-1])
    states = made.encode(Inputs(ids=example(), layout=Layout(documents=documents)))
    for place in range(17):
        (gradient,) = torch.autograd.grad(states[:, place].sum(), kept[0], retain_graph=True)
        reached = (gradient.abs().sum(-1) != 0).any(0)
        begins = place // 7 * 7
        assert not reached[:begins].any()
        assert not reached[place + 1 :].any()
        assert reached[begins : place + 1].all() or window is not None


@pytest.mark.parametrize("padded", [False, True], ids=["equal", "padded"])
@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("norm", NORMS)
def test_the_cache_changes_nothing(norm: str, window: int | None, padded: bool) -> None:
    made = decoder(norm=norm, window=window)
    ids = example()
    mask = torch.arange(17) >= torch.tensor([0, 4, 2])[:, None] if padded else None
    positions = (torch.arange(17) - torch.tensor([[0], [4], [2]])).clamp(min=0) if padded else None
    whole = Inputs(ids=ids, layout=Layout(tokens=mask), positions=positions)
    cache = made.new_cache(17)
    with torch.no_grad():
        expected = made.encode(whole)
        parts = []
        for begin, end in ((0, 6), *((place, place + 1) for place in range(6, 17))):
            layout = Layout(tokens=None if mask is None else mask[:, :end])
            placed = None if positions is None else positions[:, begin:end]
            parts.append(made.extend(replace(whole, ids=ids[:, begin:end], layout=layout, positions=placed), cache))
    got = torch.cat(parts, dim=1)
    real = torch.ones(3, 17, dtype=torch.bool) if mask is None else mask
    torch.testing.assert_close(got[real], expected[real], atol=1e-5, rtol=1e-5)


def test_initial_weights_of_residual_layers_are_scaled() -> None:
    """N(0, 0.02), and 0.02 / sqrt(2 * layers) for the two layers of a block that end in a sum."""
    torch.manual_seed(0)
    made = Decoder(DecoderSettings(name="tiny", layers=8, width=128, heads=2, feed_forward=512), VOCABULARY)
    for layer in made.layers:
        for weight, std in (
            (layer.attention.output.weight, 0.02 / math.sqrt(16)),
            (layer.feed_forward_out.weight, 0.02 / math.sqrt(16)),
            (layer.attention.query_key_value.weight, 0.02),
            (layer.feed_forward_in.weight, 0.02),
        ):
            assert weight.std().item() == pytest.approx(std, rel=0.03)
