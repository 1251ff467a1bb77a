"""Attention against its definition, written out in double precision, for every rule of a layout; and no leaks."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import combinations

import pytest
import torch
from torch import Tensor

from plmtrain.batch import Layout
from plmtrain.nn.attention import CrossAttention, SelfAttention, Visibility, attend, biased, cross_visibility, visibility
from plmtrain.nn.cache import Cache

BATCH, HEADS, LENGTH, HEAD_WIDTH = 3, 2, 7, 4

RULES = {
    "tokens": torch.tensor([[1, 1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0]]).bool(),
    "documents": torch.tensor([[0, 0, 1, 1, 1, 2, 2], [0, 0, 0, 1, 1, 1, 1], [0, 0, 0, 0, 0, 0, 0]]),
    "causal": True,
    "visible": torch.rand(BATCH, LENGTH, LENGTH, generator=torch.Generator().manual_seed(0)) < 0.6,
}

LAYOUTS = {
    "+".join(names) or "open": Layout(**{name: RULES[name] for name in names})
    for size in range(len(RULES) + 1)
    for names in combinations(RULES, size)
}


LAYOUTS |= {
    "+".join((f"window_{window}", *names)): Layout(causal=True, window=window, **{name: RULES[name] for name in names})
    for window in (1, 2, 3, 6, 9)
    for names in ((), ("tokens",), ("documents",), ("tokens", "documents"))
}


LAYOUTS |= {
    "+".join(("prefixes", *names)): Layout(causal=True, prefixes=torch.tensor([3, 0, 7]), **{name: RULES[name] for name in names})
    for names in ((), ("tokens",), ("documents",), ("tokens", "documents"))
}


@pytest.fixture(params=LAYOUTS.values(), ids=LAYOUTS.keys())
def layout(request: pytest.FixtureRequest) -> Layout:
    torch.set_num_threads(1)
    return request.param


def allowed(layout: Layout) -> Tensor:
    """Whether a query may see a key, straight from what a layout says.  # [batch, query, key]"""
    seen = torch.ones(BATCH, LENGTH, LENGTH, dtype=torch.bool)
    for row, query, key in torch.cartesian_prod(torch.arange(BATCH), torch.arange(LENGTH), torch.arange(LENGTH)).tolist():
        if layout.tokens is not None and not layout.tokens[row, key]:
            seen[row, query, key] = False
        if layout.documents is not None and layout.documents[row, query] != layout.documents[row, key]:
            seen[row, query, key] = False
        ahead = layout.prefixes is not None and key < layout.prefixes[row]
        if layout.causal and key > query and not ahead:
            seen[row, query, key] = False
        if layout.window is not None and key <= query - layout.window:
            seen[row, query, key] = False
        if layout.visible is not None and not layout.visible[row, query, key]:
            seen[row, query, key] = False
    return seen


def parts(dtype: torch.dtype = torch.float32) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(BATCH, HEADS, LENGTH, HEAD_WIDTH, generator=generator, dtype=torch.float64).to(dtype) for _ in range(3)]


def definition(query: Tensor, key: Tensor, value: Tensor, seen: Tensor) -> Tensor:
    """exp(score) of what is seen over its sum; zero where nothing is."""
    scores = query.double() @ key.double().transpose(-1, -2) / math.sqrt(HEAD_WIDTH)
    weights = scores.exp() * seen[:, None]
    total = weights.sum(-1, keepdim=True)
    return torch.where(total > 0, weights / total.clamp(min=1e-300), 0.0) @ value.double()


@pytest.mark.parametrize("kernel", ["torch", "products"])
def test_against_the_definition(layout: Layout, kernel: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plmtrain.nn.attention._by_products_is_faster", lambda *_: kernel == "products")
    query, key, value = parts()
    seen = visibility(layout, torch.zeros(BATCH, LENGTH, 1))
    found = attend(query, key, value, seen, 0.0)
    assert torch.allclose(found.double(), definition(query, key, value, allowed(layout)), atol=1e-6)


def test_under_autocast(layout: Layout) -> None:
    query, key, value = (part.requires_grad_() for part in parts(torch.bfloat16))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        seen = visibility(layout, torch.zeros(BATCH, LENGTH, 1))
        found = attend(query, key, value, seen, 0.0)
    assert found.dtype == torch.bfloat16
    assert torch.allclose(found.double(), definition(query, key, value, allowed(layout)), atol=0.05)


@pytest.mark.parametrize("probability", [0.0, 0.5])
def test_nothing_leaks(layout: Layout, probability: float) -> None:
    """The gradient of a position with respect to one that it may not see is exactly zero, and no gradient is NaN."""
    torch.manual_seed(0)
    module = SelfAttention(HEADS * HEAD_WIDTH, HEADS, probability).train()
    torch.nn.init.normal_(module.query_key_value.weight)
    hidden = torch.randn(BATCH, LENGTH, HEADS * HEAD_WIDTH, requires_grad=True)
    mixed = module(hidden, visibility(layout, hidden))
    seen = allowed(layout)
    for query in range(LENGTH):
        (gradient,) = torch.autograd.grad(mixed[:, query].sum(), hidden, retain_graph=True)
        reaches = gradient.abs().sum(-1) != 0  # [batch, key]
        may = seen[:, query].clone()
        may[:, query] |= may.any(-1)  # its own state makes the query
        assert torch.isfinite(gradient).all()
        assert not (reaches & ~may).any()


def test_a_query_that_sees_nothing_gives_zeros() -> None:
    query, key, value = parts()
    layout = Layout(visible=torch.eye(LENGTH, dtype=torch.bool)[None].expand(BATCH, -1, -1) & (torch.arange(LENGTH) > 2))
    found = attend(query, key, value, visibility(layout, torch.zeros(BATCH, LENGTH, 1)), 0.0)
    assert (found[:, :, :3] == 0).all()
    assert torch.allclose(found[:, :, 3:], value[:, :, 3:], atol=1e-6)


def test_no_rules_cost_nothing() -> None:
    assert visibility(Layout(), torch.zeros(BATCH, LENGTH, 1)) == (None, None, False, None)


@pytest.mark.parametrize("make", [lambda: Layout(), lambda: Layout(tokens=RULES["tokens"]), lambda: Layout(causal=True)])
def test_dropped_weights_average_to_the_undropped(make: Callable[[], Layout]) -> None:
    torch.manual_seed(0)
    query, key, value = parts()
    seen = visibility(make(), torch.zeros(BATCH, LENGTH, 1))
    times = 4000
    mean = sum(attend(query, key, value, seen, 0.3).double() for _ in range(times)) / times
    assert (mean - attend(query, key, value, seen, 0.0)).abs().max() < 0.06  # about five standard errors


MEMORY = 5
MEMORY_RULES = {
    "tokens": torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [0, 0, 0, 0, 0]]).bool(),
    "documents": torch.tensor([[0, 0, 1, 1, 2], [0, 1, 1, 1, 1], [0, 0, 0, 0, 0]]),
}


@pytest.mark.parametrize("names", [(), ("tokens",), ("documents",), ("tokens", "documents")])
def test_attention_to_a_memory_against_the_definition(names: tuple[str, ...]) -> None:
    torch.manual_seed(0)
    module = CrossAttention(HEADS * HEAD_WIDTH, HEADS, 0.0).double().eval()
    hidden = torch.randn(BATCH, LENGTH, HEADS * HEAD_WIDTH, dtype=torch.float64)
    memory = torch.randn(BATCH, MEMORY, HEADS * HEAD_WIDTH, dtype=torch.float64)
    layout = Layout(documents=RULES["documents"] if "documents" in names else None, causal=True)
    seen = torch.ones(BATCH, LENGTH, MEMORY, dtype=torch.bool)
    for row, query, key in torch.cartesian_prod(torch.arange(BATCH), torch.arange(LENGTH), torch.arange(MEMORY)).tolist():
        if "tokens" in names and not MEMORY_RULES["tokens"][row, key]:
            seen[row, query, key] = False
        if "documents" in names and RULES["documents"][row, query] != MEMORY_RULES["documents"][row, key]:
            seen[row, query, key] = False

    def heads(states: Tensor) -> Tensor:
        return states.view(*states.shape[:2], HEADS, HEAD_WIDTH).transpose(1, 2)

    key, value = module.key_value(memory).chunk(2, dim=-1)
    mixed = definition(heads(module.query(hidden)), heads(key), heads(value), seen)
    expected = module.output(mixed.transpose(1, 2).flatten(2))
    ready = cross_visibility(layout, Layout(**{name: MEMORY_RULES[name] for name in names}), hidden)
    assert torch.allclose(module(hidden, memory, ready), expected, atol=1e-10)
    cache = Cache(MEMORY)
    first = module(hidden[:, :1], memory, Visibility(*(None if part is None else part[:, :, :1] for part in ready[:2])), cache)
    again = module(
        hidden[:, :1], torch.zeros_like(memory), Visibility(*(None if p is None else p[:, :, :1] for p in ready[:2])), cache
    )
    assert torch.allclose(first, expected[:, :1], atol=1e-10)
    assert torch.equal(first, again)  # the memory's keys and values were kept


def test_a_cache_changes_nothing() -> None:
    torch.manual_seed(0)
    module = SelfAttention(HEADS * HEAD_WIDTH, HEADS, 0.0).double().eval()
    hidden = torch.randn(BATCH, LENGTH, HEADS * HEAD_WIDTH, dtype=torch.float64)
    whole = module(hidden, Visibility(causal=True))
    cache = Cache(LENGTH)
    parts = [module(hidden[:, :3], Visibility(causal=True), cache)]
    parts += [module(hidden[:, place : place + 1], Visibility(), cache) for place in range(3, LENGTH)]
    assert torch.allclose(torch.cat(parts, dim=1), whole, atol=1e-10)


def test_a_cache_goes_on_with_chosen_rows() -> None:
    torch.manual_seed(0)
    module = SelfAttention(HEADS * HEAD_WIDTH, HEADS, 0.0).double().eval()
    hidden = torch.randn(BATCH, LENGTH, HEADS * HEAD_WIDTH, dtype=torch.float64)
    rows = torch.tensor([2, 0, 0])
    cache = Cache(LENGTH)
    module(hidden[:, :-1], Visibility(causal=True), cache)
    cache.select(rows)
    last = torch.randn(3, 1, HEADS * HEAD_WIDTH, dtype=torch.float64)
    expected = module(torch.cat((hidden[rows, :-1], last), dim=1), Visibility(causal=True))[:, -1:]
    assert torch.allclose(module(last, Visibility(), cache), expected, atol=1e-10)


@pytest.mark.parametrize("learned", [True, False])
@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize("causal", [True, False])
def test_a_bias_is_added_to_the_scores_of_its_head_and_nothing_else_is_seen(causal: bool, padded: bool, learned: bool) -> None:
    """Without a scale, as in T5: by the definition, and by both ways in which attention is computed."""
    torch.manual_seed(0)
    query, key, value = torch.randn(3, 2, 3, 5, 4).unbind()
    bias = torch.randn(1, 3, 5, 5, requires_grad=learned)
    real = torch.arange(5) < torch.tensor([[5], [3]])
    layout = Layout(tokens=real if padded else None, causal=causal)
    seen = biased(visibility(layout, torch.zeros(2, 5, 12)), bias, query)
    hidden = torch.zeros(2, 1, 5, 5, dtype=torch.bool)
    hidden |= ~real[:, None, None] & padded
    hidden |= torch.ones(5, 5, dtype=torch.bool).triu(1) & causal
    scores = (query @ key.transpose(-1, -2) + bias).masked_fill(hidden, -torch.inf)
    torch.testing.assert_close(attend(query, key, value, seen, 0.0, scale=1.0), scores.softmax(-1) @ value)
