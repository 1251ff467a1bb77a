"""XLNet's two streams: parameter counts, what may not leak, the memory, and rows that see nothing."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from plmtrain.backbones import build
from plmtrain.backbones.two_stream import NOTHING, Memory, TwoStream, remember
from plmtrain.batch import Inputs, Layout
from plmtrain.nn.heads import TiedHead
from plmtrain.settings.models.two_stream import TwoStreamSettings

VOCABULARY, LENGTH, REMEMBERED = 50, 9, 5
TINY = {"layers": 2, "width": 16, "heads": 2, "feed_forward": 32}


def made(**changes: Any) -> TwoStream:
    torch.manual_seed(0)
    backbone = build(TwoStreamSettings(name="tiny", **(TINY | changes)), VOCABULARY)
    assert isinstance(backbone, TwoStream)
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return backbone


def ids(rows: int = 2, length: int = LENGTH) -> Tensor:
    return torch.randint(0, VOCABULARY, (rows, length), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ({}, 116_750_336),
        ({"layers": 24, "width": 1024, "heads": 16, "feed_forward": 4096}, 360_300_800),
    ],
)
def test_published_parameter_counts(shape: dict[str, Any], expected: int) -> None:
    with torch.device("meta"):
        parts = [build(TwoStreamSettings(name="counted", **shape), 32_000), TiedHead(32_000)]
    assert sum(parameter.numel() for part in parts for parameter in part.parameters()) == expected


def gradients(backbone: TwoStream, layout: Layout, places: Tensor, memory: Memory | None) -> tuple[Tensor, Tensor | None]:
    """How far each query state depends on each token and each remembered place.  # [predicted, length or remembered]"""
    tokens, segments = ids(1), (torch.arange(LENGTH) > 5).long()[None]
    table = backbone.token.weight.detach()[tokens[0]]
    embedded = table.clone().requires_grad_()
    before = None if memory is None else memory.states.clone().requires_grad_()
    asked = None if memory is None or before is None else Memory(before, memory.documents)
    hook = backbone.token.register_forward_hook(lambda *_: embedded[None])
    hidden, _ = backbone.predict(Inputs(ids=tokens, layout=layout, segments=segments), places, asked)
    hook.remove()
    seen, recalled = [], []
    for one in hidden[0]:
        weights = torch.linspace(1, 2, one.shape[0])
        wanted = [embedded] if before is None else [embedded, before]
        reached = torch.autograd.grad((one * weights).sum(), wanted, retain_graph=True, allow_unused=True)
        seen.append(torch.zeros(LENGTH) if reached[0] is None else reached[0].abs().sum(-1))
        if before is not None:
            recalled.append(reached[1].abs().sum((0, 1, 3)))
    return torch.stack(seen), torch.stack(recalled) if recalled else None


@pytest.mark.parametrize("remembered", [False, True])
def test_no_prediction_knows_what_it_may_not_see(remembered: bool) -> None:
    """A full permutation: every token is a target, and the first of the order sees nothing at all but the memory."""
    backbone = made().eval()
    order = torch.randperm(LENGTH, generator=torch.Generator().manual_seed(4))
    documents = torch.tensor([[NOTHING, 0, 0, NOTHING, 0]])
    memory = Memory(torch.randn(1, 2, REMEMBERED, 16), documents) if remembered else None
    seen, recalled = gradients(backbone, Layout(ranks=order[None]), torch.arange(LENGTH)[None], memory)
    for i in range(LENGTH):
        for j in range(LENGTH):
            assert (seen[i, j] > 0) == (order[j] < order[i]), (i, j)
    if recalled is not None:
        assert ((recalled > 0) == (documents != NOTHING)).all()


def test_documents_are_isolated_in_the_row_and_in_the_memory() -> None:
    backbone = made().eval()
    documents = torch.tensor([[7, 7, 7, 8, 8, 8, 8, 9, 9]])
    memory = Memory(torch.randn(1, 2, REMEMBERED, 16), torch.tensor([[6, 7, 7, 8, NOTHING]]))
    ranks = torch.tensor([[-1, 0, -1, -1, 1, -1, 2, -1, 3]])
    seen, recalled = gradients(backbone, Layout(ranks=ranks, documents=documents), torch.tensor([[1, 4, 6, 8]]), memory)
    assert recalled is not None
    for row, i in enumerate((1, 4, 6, 8)):
        for j in range(LENGTH):
            assert (seen[row, j] > 0) == bool(ranks[0, j] < ranks[0, i] and documents[0, i] == documents[0, j])
        assert ((recalled[row] > 0) == (memory.documents[0] == documents[0, i])).all()


def test_a_state_that_sees_nothing_gets_zeros_from_attention() -> None:
    """Its output is that of the block without attention; a uniform mixture would leak the target (bug of both references)."""
    backbone = made().eval()
    tokens = ids(1)
    ranks = torch.arange(LENGTH)[None]
    hidden, _ = backbone.predict(Inputs(ids=tokens, layout=Layout(ranks=ranks)), torch.zeros(1, 1, dtype=torch.int64))
    expected = backbone.mask
    for block in backbone.layers:
        expected = block._feed_forward(expected, torch.zeros_like(expected))
    torch.testing.assert_close(hidden, expected)


def test_equal_ranks_do_not_see_each_other_in_the_query_stream() -> None:
    ranks = torch.tensor([[-1, 1, -1, 1, 0, 0, -1, -1, 1]])
    seen, _ = gradients(made().eval(), Layout(ranks=ranks), torch.tensor([[1, 3, 8]]), None)
    assert ((seen > 0) == (ranks < 1)).all()


def test_rules_of_the_layout_hold_for_the_query_stream() -> None:
    visible = torch.rand(1, LENGTH, LENGTH, generator=torch.Generator().manual_seed(2)) < 0.4
    tokens = torch.arange(LENGTH)[None] >= 2
    backbone = made(layers=1).eval()
    seen, _ = gradients(backbone, Layout(visible=visible, tokens=tokens, causal=True), torch.arange(LENGTH)[None], None)
    later = torch.arange(LENGTH)[None, :] > torch.arange(LENGTH)[:, None]
    expected = visible[0] & tokens & ~later & ~torch.eye(LENGTH, dtype=torch.bool)
    assert ((seen > 0) == expected).all()


def test_an_empty_memory_is_none() -> None:
    backbone = made().eval()
    layout, places = Layout(ranks=torch.tensor([[0, -1, 1, -1, 2, -1, -1, 3, -1]]).expand(2, -1)), torch.tensor([[0, 2], [4, 7]])
    memory = Memory(torch.randn(2, 2, REMEMBERED, 16), torch.full((2, REMEMBERED), NOTHING))
    alone, _ = backbone.predict(Inputs(ids=ids(), layout=layout), places)
    beside, _ = backbone.predict(Inputs(ids=ids(), layout=layout), places, memory)
    torch.testing.assert_close(alone, beside)


def test_remember_keeps_the_latest_without_a_gradient() -> None:
    states = [torch.randn(2, 6, 16, requires_grad=True) for _ in range(2)]
    documents = torch.tensor([[NOTHING, 0, 0, 0, 0, 0], [1, 1, 1, 2, 2, 2]])
    first = remember(None, states, documents, reuse=4, most=6)
    assert first.documents.tolist() == documents[:, :4].tolist()
    assert not first.states.requires_grad
    second = remember(first, states, documents, reuse=4, most=6)
    assert second.documents.tolist() == [[0, 0, NOTHING, 0, 0, 0], [1, 2, 1, 1, 1, 2]]
    assert torch.equal(second.states[:, 1], torch.cat([states[1][:, 2:4], states[1][:, :4]], dim=1))
    assert remember(second, states, documents, reuse=4, most=2).documents.shape == (2, 2)


def test_memory_is_what_a_longer_row_would_see() -> None:
    """With one layer, remembered tokens weigh exactly as tokens to the left of the row do."""
    backbone = made(layers=1).eval()
    tokens = ids(2, 12)
    segments = torch.zeros_like(tokens)
    segments[:, 9:] = 1
    ranks = torch.full_like(tokens, -1)
    places = torch.tensor([[7, 11], [8, 10]])
    ranks.scatter_(1, places, torch.tensor([[0, 1], [1, 0]]))
    whole, _ = backbone.predict(Inputs(ids=tokens, layout=Layout(ranks=ranks), segments=segments), places)
    memory = remember(None, [backbone.token(tokens[:, :5])], torch.zeros_like(tokens[:, :5]), reuse=5, most=5)
    rest = Inputs(ids=tokens[:, 5:], layout=Layout(ranks=ranks[:, 5:]), segments=segments[:, 5:])
    part, _ = backbone.predict(rest, places - 5, memory)
    torch.testing.assert_close(part, whole)


def test_padding_on_the_left_does_not_matter() -> None:
    backbone = made().eval()
    tokens = ids()
    real = torch.arange(LENGTH)[None].expand(2, -1) >= 3
    short = backbone.encode(Inputs(ids=tokens[:, 3:]))
    torch.testing.assert_close(backbone.encode(Inputs(ids=tokens, layout=Layout(tokens=real)))[:, 3:], short)


def test_every_parameter_gets_a_gradient_and_training_is_reproducible() -> None:
    backbone = made().train()
    ranks = torch.tensor([[0, -1, 1, -1, 2, -1, -1, 3, -1]]).expand(4, -1)
    segments = (torch.arange(LENGTH) > 4).long().expand(4, -1)
    trained = []
    for _ in range(2):
        torch.manual_seed(5)
        backbone.zero_grad()
        inputs = Inputs(ids=ids(4), layout=Layout(ranks=ranks), segments=segments)
        hidden, _ = backbone.predict(inputs, torch.tensor([[0, 2, 4, 7]]).expand(4, -1))
        hidden.square().sum().backward()
        trained.append([parameter.grad.clone() for parameter in backbone.parameters()])
    for (name, _), first, second in zip(backbone.named_parameters(), *trained, strict=True):
        assert first.any(), name
        assert torch.equal(first, second), name


def test_bfloat16_is_close() -> None:
    backbone = made().eval()
    ranks = torch.tensor([[0, -1, 1, -1, 2, -1, -1, 3, -1]]).expand(2, -1)
    places, segments = torch.tensor([[0, 7], [2, 4]]), (torch.arange(LENGTH) > 4).long().expand(2, -1)
    memory = Memory(torch.randn(2, 2, REMEMBERED, 16), torch.zeros(2, REMEMBERED, dtype=torch.int64))
    inputs = Inputs(ids=ids(), layout=Layout(ranks=ranks), segments=segments)
    exact, _ = backbone.predict(inputs, places, memory)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough, read = backbone.predict(inputs, places, memory)
        remember(memory, read, torch.zeros(2, LENGTH, dtype=torch.int64), 4, REMEMBERED)
    torch.testing.assert_close(rough.float(), exact, rtol=0, atol=0.1)


@pytest.mark.slow
def test_compiled_blocks() -> None:
    torch.compiler.reset()
    ranks = torch.tensor([[0, -1, 1, -1, 2, -1, -1, 3, -1]]).expand(2, -1)
    places, segments = torch.tensor([[0, 7], [2, 4]]), (torch.arange(LENGTH) > 4).long().expand(2, -1)
    eager = made().eval()
    inputs = Inputs(ids=ids(), layout=Layout(ranks=ranks), segments=segments)
    expected, _ = eager.predict(inputs, places)
    compiled = made().eval()
    for block in compiled.blocks():
        block.compile(dynamic=False, fullgraph=True)
    hidden, _ = compiled.predict(inputs, places)
    torch.testing.assert_close(hidden, expected, rtol=1e-4, atol=1e-4)
