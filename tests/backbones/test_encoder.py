"""The encoder as the trainer needs it: reproducible to the bit, compilable, without buffers, a gradient everywhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from plmtrain.backbones import Backbone, build
from plmtrain.batch import Inputs, Layout
from plmtrain.nn.heads import MaskedLMHead
from plmtrain.nn.loss import cross_entropy_sum
from plmtrain.settings.models.encoder import EncoderSettings

VOCABULARY = 1000
TINY = {"layers": 2, "width": 32, "heads": 2, "feed_forward": 64, "positions": 64}

FAMILIES: dict[str, dict[str, Any]] = {
    "bert": {},
    "roberta": {"position_offset": 2, "segments": 1, "norm_eps": 1e-5},
    "albert": {"embedding_width": 16, "shared_layers": True, "always_project": True, "activation": "gelu_tanh"},
    "electra": {"embedding_width": 16},
    "distilbert": {"segments": 0},
}


def made(family: str = "bert", **changes: Any) -> Backbone:
    torch.manual_seed(0)
    return build(EncoderSettings(name="tiny", family=family, **(TINY | FAMILIES[family] | changes)), VOCABULARY)


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    assert torch.get_num_threads() == 2, "OMP_NUM_THREADS is the number to begin with alone"
    yield
    torch.set_num_threads(before)


def _ids(rows: int = 16, length: int = 48) -> Tensor:
    return torch.randint(0, VOCABULARY, (rows, length), generator=torch.Generator().manual_seed(1))


def _gradients(backbone: Backbone, ids: Tensor, precision: torch.dtype, seed: int = 2) -> list[Tensor]:
    torch.manual_seed(3)
    head = MaskedLMHead(backbone.width, backbone.embedding_width, VOCABULARY, "gelu", 1e-12)
    learner = nn.ModuleList([backbone, head]).train()
    layout = Layout(tokens=torch.arange(ids.shape[1])[None] < torch.arange(1, len(ids) + 1)[:, None] * 3)
    torch.manual_seed(seed)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == torch.bfloat16):
        hidden = backbone.encode(Inputs(ids=ids, layout=layout)).flatten(0, 1)
        chosen = layout.tokens.flatten().nonzero()[::3, 0]
        loss = cross_entropy_sum(head(hidden[chosen], backbone.embedding_weight), ids.flatten()[chosen])
    learner.zero_grad()
    loss.backward()
    return [loss.detach(), *(parameter.grad.clone() for parameter in learner.parameters() if parameter.grad is not None)]


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_are_equal_to_the_bit(family: str, precision: torch.dtype, threads: None) -> None:
    backbone, ids = made(family), _ids()
    ids[:, ::2] = 5  # many rows of the embedding's gradient are sums over threads
    first, second, other = (_gradients(backbone, ids, precision, seed) for seed in (2, 2, 4))
    assert all(torch.equal(*pair) for pair in zip(first, second, strict=True))
    assert not torch.equal(first[0], other[0])


@pytest.mark.parametrize("family", FAMILIES)
def test_every_parameter_gets_a_gradient(family: str) -> None:
    backbone, ids = made(family).train(), _ids()
    segments = torch.arange(ids.shape[1]).expand_as(ids) % 2 if FAMILIES[family].get("segments", 2) == 2 else None
    backbone.encode(Inputs(ids=ids, segments=segments)).square().sum().backward()
    for name, parameter in backbone.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("family", FAMILIES)
def test_nothing_but_parameters_and_each_block_once(family: str) -> None:
    backbone = made(family)
    assert list(backbone.buffers()) == []
    assert len(backbone.blocks()) == len(set(backbone.blocks())) == (1 if family == "albert" else 2)
    assert backbone.embedding_weight.shape == (VOCABULARY, backbone.embedding_width)


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_left_out_is_the_order_and_the_first_segment(family: str) -> None:
    backbone, ids = made(family).eval(), _ids()
    places = torch.arange(ids.shape[1]).expand_as(ids)
    segments = torch.zeros_like(ids) if FAMILIES[family].get("segments", 2) else None
    whole = Inputs(ids=ids, segments=segments, positions=places)
    assert torch.allclose(backbone.encode(Inputs(ids=ids)), backbone.encode(whole), atol=1e-6)


def test_padding_does_not_matter() -> None:
    backbone, ids = made().eval(), _ids(rows=2)
    tokens = torch.ones_like(ids).bool()
    tokens[:, 30:] = False
    short = backbone.encode(Inputs(ids=ids[:, :30]))
    assert torch.allclose(backbone.encode(Inputs(ids=ids, layout=Layout(tokens=tokens)))[:, :30], short, atol=1e-6)


def test_isolated_documents_see_only_themselves() -> None:
    backbone, ids = made().eval(), _ids(rows=2, length=20)
    documents = (torch.arange(20) >= 8).long().expand_as(ids)
    places = torch.arange(20) - 8 * (torch.arange(20) >= 8)
    packed = backbone.encode(Inputs(ids=ids, layout=Layout(documents=documents), positions=places.expand_as(ids)))
    assert torch.allclose(packed[:, :8], backbone.encode(Inputs(ids=ids[:, :8])), atol=1e-6)
    assert torch.allclose(packed[:, 8:], backbone.encode(Inputs(ids=ids[:, 8:])), atol=1e-6)


def test_weights_come_from_the_seed() -> None:
    first, second = made().state_dict(), made().state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.slow
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("family", ["bert", "albert"])
def test_compiled_blocks(family: str, precision: torch.dtype) -> None:
    """No graph break, one graph for every layer, the eager numbers without dropout, and reproducible with it."""
    torch.compiler.reset()
    ids = _ids()
    eager = _gradients(made(family, dropout=0.0, attention_dropout=0.0), ids, precision)
    plain, dropping = made(family, dropout=0.0, attention_dropout=0.0), made(family)
    for backbone in (plain, dropping):
        for block in backbone.blocks():
            block.compile(fullgraph=True)
    with torch._dynamo.config.patch(error_on_recompile=True):
        compiled = _gradients(plain, ids, precision)
    tolerance = 1e-4 if precision == torch.float32 else 0.05
    for gradient, expected in zip(compiled, eager, strict=True):
        assert (gradient - expected).abs().max() <= tolerance * expected.abs().max().clamp(min=1)
    torch.compiler.reset()
    first, second = (_gradients(dropping, ids, precision) for _ in range(2))
    assert all(torch.equal(*pair) for pair in zip(first, second, strict=True))


@pytest.mark.parametrize("shared_layers", [False, True])
def test_states_at_some_positions_are_those_of_the_whole_row(shared_layers: bool) -> None:
    """And so are the gradients: the last layer may leave out what nobody reads."""
    torch.manual_seed(3)
    shape = {"layers": 3, "width": 16, "heads": 2, "feed_forward": 32, "positions": 12}
    encoder = build(EncoderSettings(name="tiny", family="bert", shared_layers=shared_layers, **shape), 50).eval()
    for parameter in encoder.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    ids = torch.randint(0, 50, (4, 9))
    layout = Layout(tokens=torch.arange(9) < torch.tensor([9, 5, 7, 9])[:, None])
    at = torch.tensor([0, 4, 9, 13, 20, 35])
    inputs = Inputs(ids=ids, layout=layout)
    whole = encoder.encode(inputs).flatten(0, 1)[at]
    some = encoder.encode_at(inputs, at)
    torch.testing.assert_close(some, whole, rtol=1e-5, atol=1e-6)
    parameters = list(encoder.parameters())
    for left, right in zip(
        torch.autograd.grad(some.square().sum(), parameters, allow_unused=True),
        torch.autograd.grad(whole.square().sum(), parameters, allow_unused=True),
        strict=True,
    ):
        assert (left is None) == (right is None)
        if left is not None and right is not None:
            torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-5)
