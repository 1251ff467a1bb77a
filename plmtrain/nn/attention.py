"""Scaled dot-product attention (Vaswani et al. 2017, section 3.2), and which positions see each other in it.

This is the only module that reads a layout. The rules of a layout are combined once for each forward pass, and not at all where
there are none.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from plmtrain.batch import Layout
from plmtrain.nn.cache import Cache
from plmtrain.nn.dropout import kept, kept_scale


class Visibility(NamedTuple):
    """A layout prepared for the attention of every layer.

    Where a query may see no key at all, ``bias`` lets it see all of them, so that its softmax is finite, and ``sighted`` then
    makes its output zero. The usual methods, a large negative number or minus infinity, give a mean over keys that it may not
    see, or NaN.
    """

    bias: Tensor | None = None
    """[batch or 1, heads or 1, query or 1, key], added to scores: minus infinity where a query does not see a key, else 0, or
    what relative positions add (``biased``). None where only ``causal`` hides any."""
    sighted: Tensor | None = None
    """[batch, 1, 1 or query, 1], 1 where a query sees any key, else 0; None where every query does."""
    causal: bool = False
    """Whether a query sees only keys that are not to its right. False where ``bias`` contains that rule already."""
    window: int | None = None
    """The most keys that a query sees; None for no such limit. Queries then stand in blocks of that size, each block sees itself
    and the one before it, and ``bias`` is [batch * blocks, 1, window, 2 * window]."""


def visibility(layout: Layout, hidden: Tensor) -> Visibility:
    """Prepare a layout for attention.

    Args:
        layout: which positions see each other.
        hidden: [batch, length, width] the input of the first layer.
    """
    length = hidden.shape[1]
    if layout.window is not None and layout.window < length:
        return _in_blocks(layout, layout.window, hidden)
    if all(rule is None for rule in (layout.tokens, layout.documents, layout.ranks, layout.prefixes, layout.visible)):
        return Visibility(causal=layout.causal)
    seen = may_see(layout, length, hidden.device)
    assert seen is not None
    return ready(seen, hidden)


def cross_visibility(layout: Layout, memory: Layout, hidden: Tensor) -> Visibility:
    """Prepare what positions see of another sequence: its tokens without padding, and those of their own document.

    Args:
        layout: of the sequence with the queries.
        memory: of the sequence with the keys.
        hidden: [batch, length, width] the input of the first layer, of the sequence with the queries.
    """
    rules = []
    if memory.tokens is not None:
        rules.append(memory.tokens[:, None, :])  # [batch, 1, key]
    if layout.documents is not None and memory.documents is not None:
        rules.append(layout.documents[:, :, None] == memory.documents[:, None, :])  # [batch, query, key]
    if not rules:
        return Visibility()
    return ready(rules[0] if len(rules) == 1 else rules[0] & rules[1], hidden)


def may_see(layout: Layout, length: int, device: torch.device) -> Tensor | None:
    """Combine the rules of a layout.

    Args:
        layout: which positions see each other.
        length: of a row.
        device: of the rules.

    Returns:
        [batch or 1, query or 1, key] whether a query may see a key; None where each may see all.
    """
    rules = []
    if layout.tokens is not None:
        rules.append(layout.tokens[:, None, :])  # [batch, 1, key]
    if layout.documents is not None:
        rules.append(layout.documents[:, :, None] == layout.documents[:, None, :])  # [batch, query, key]
    if layout.ranks is not None:
        rules.append(layout.ranks[:, None, :] <= layout.ranks[:, :, None])
    if layout.visible is not None:
        rules.append(layout.visible)
    if layout.causal:
        earlier = _not_later(length, device)[None]
        if layout.prefixes is not None:
            earlier = earlier | (torch.arange(length, device=device) < layout.prefixes[:, None])[:, None, :]
        rules.append(earlier)
    if layout.window is not None:
        rules.append(~_not_later(length, device, -layout.window)[None])
    if not rules:
        return None
    seen = rules[0]
    for rule in rules[1:]:
        seen = seen & rule
    return seen


def ready(seen: Tensor, hidden: Tensor) -> Visibility:
    """Prepare one rule for attention.

    Args:
        seen: [batch or 1, query or 1, key] whether a query may see a key.
        hidden: the input of the first layer, for its type.
    """
    sighted = seen.any(dim=-1, keepdim=True)
    kind = _kind(hidden)
    return Visibility(bias=_bias(seen | ~sighted, kind)[:, None], sighted=sighted[:, None].to(kind))


def _kind(hidden: Tensor) -> torch.dtype:
    """Return the type of attention's products, autocast's where that is on: adding another would cost a copy in every layer."""
    device = hidden.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype


def biased(seen: Visibility, bias: Tensor, hidden: Tensor) -> Visibility:
    """Return a visibility whose scores have a number added for each query and key, as in T5 (Raffel et al. 2020, section 2.1)
    and DeBERTa.

    Args:
        seen: which positions see each other, without a window.
        bias: [batch or 1, heads, query, key].
        hidden: the input of the first layer, for its type.
    """
    assert seen.window is None, "a window has no bias"
    bias = bias.to(_kind(hidden))
    mask = _bias(_not_later(bias.shape[2], bias.device), bias.dtype) if seen.causal else seen.bias
    return seen._replace(bias=bias if mask is None else bias + mask, causal=False)


def _not_later(length: int, device: torch.device, shift: int = 0) -> Tensor:
    """Return which keys are not later than the query, moved by some positions.  # [query, key]"""
    return torch.ones(length, length, dtype=torch.bool, device=device).tril(shift)


def _in_blocks(layout: Layout, window: int, hidden: Tensor) -> Visibility:
    """Prepare a window that is shorter than a row, so that the cost of attention is proportional to length * window."""
    assert layout.causal, "a window ends at the query"
    assert layout.ranks is None, "a window has no order but that of the row"
    assert layout.prefixes is None, "a window ends at the query"
    assert layout.visible is None, "a window has no rule for pairs of positions"
    batch, length = hidden.shape[:2]
    device, blocks = hidden.device, -(-length // window)
    query = torch.arange(window, device=device)[:, None]
    key = torch.arange(2 * window, device=device) - window  # from the first query of the block
    seen = ((key <= query) & (key > query - window))[None, None]  # [1, 1, window, 2 * window]
    before = torch.arange(blocks, device=device)[:, None] * window  # the positions before a block
    seen = seen & (key >= -before)[None, :, None]  # [1, blocks, window, 2 * window]
    padding = blocks * window - length
    if layout.tokens is not None:
        keys = functional.pad(layout.tokens, (window, padding)).unfold(1, 2 * window, window)  # [batch, blocks, 2 * window]
        seen = seen & keys[:, :, None]
    if layout.documents is not None:
        keys = functional.pad(layout.documents, (window, padding), value=-1).unfold(1, 2 * window, window)
        seen = seen & (keys[:, :, window:, None] == keys[:, :, None])
    prepared = ready(seen.expand(batch, -1, -1, -1).flatten(0, 1), hidden)
    assert prepared.bias is not None
    assert prepared.sighted is not None
    sighted = None
    if layout.tokens is not None:  # else each query sees itself
        sighted = prepared.sighted.reshape(batch, 1, blocks * window, 1)[:, :, :length]
    return Visibility(bias=prepared.bias, sighted=sighted, window=window)


def _bias(seen: Tensor, kind: torch.dtype) -> Tensor:
    return torch.zeros(seen.shape, dtype=kind, device=seen.device).masked_fill_(~seen, -math.inf)


def attend(query: Tensor, key: Tensor, value: Tensor, seen: Visibility, probability: float, scale: float | None = None) -> Tensor:
    """softmax(QK'/sqrt(d))V over the keys that each query may see; zero for a query that may see none.

    Args:
        query, key, value: [batch, heads, length, head width].
        seen: which positions see each other.
        probability: of dropping an attention weight; 0 outside training.
        scale: the factor of the products; None for 1/sqrt(d).

    Returns:
        [batch, heads, length, head width].
    """
    if seen.window is not None:
        output = _unfolded(_scored(*_folded(query, key, value, seen.window), seen, probability, scale), query.shape)
    else:
        output = _scored(query, key, value, seen, probability, scale)
    if seen.sighted is not None:
        output = output * seen.sighted
    return output


def _scored(query: Tensor, key: Tensor, value: Tensor, seen: Visibility, probability: float, scale: float | None) -> Tensor:
    if _by_products_is_faster(query, seen, probability):
        return _by_products(query, key, value, seen, probability, scale)
    output: Tensor = functional.scaled_dot_product_attention(
        query, key, value, attn_mask=seen.bias, dropout_p=probability, is_causal=seen.causal, scale=scale
    )
    return output


def _folded(query: Tensor, key: Tensor, value: Tensor, window: int) -> tuple[Tensor, Tensor, Tensor]:
    """Cut queries into blocks, each with the keys and values of its own block and of the one before it.

    Returns:
        [batch * blocks, heads, window, head width], and twice [batch * blocks, heads, 2 * window, head width].
    """
    batch, heads, length, width = query.shape
    blocks = -(-length // window)
    padding = blocks * window - length
    queries = functional.pad(query, (0, 0, 0, padding)).view(batch, heads, blocks, window, width).transpose(1, 2)
    pairs = (functional.pad(each, (0, 0, window, padding)).unfold(2, 2 * window, window) for each in (key, value))
    keys, values = (each.permute(0, 2, 1, 4, 3).reshape(batch * blocks, heads, 2 * window, width) for each in pairs)
    return queries.reshape(batch * blocks, heads, window, width), keys, values


def _unfolded(mixed: Tensor, shape: torch.Size) -> Tensor:
    """Undo ``_folded`` for the outputs of queries.  # [batch * blocks, heads, window, head width] -> ``shape``"""
    batch, heads, length, width = shape
    rows = mixed.view(batch, -1, heads, mixed.shape[2], width).transpose(1, 2).reshape(batch, heads, -1, width)
    return rows[:, :, :length]


def _by_products_is_faster(query: Tensor, seen: Visibility, probability: float) -> bool:
    """Return whether explicit matrix products are faster than torch's kernel.

    Torch's CPU kernel has no dropout, and has a slow backward pass in bf16. On one core with AVX-512 and no AMX, at 128, 256 and
    512 positions, explicit products took 0.5 to 0.9 of the time with dropout, and in bf16 0.3 to 0.9 without. In fp32 without
    dropout neither was always faster, and without gradients torch's kernel was. GPUs were not measured. Where the bias is
    learned, torch's CPU kernel cannot be used anyway.
    """
    if query.device.type != "cpu":
        return False
    learned = seen.bias is not None and seen.bias.requires_grad
    return probability > 0 or learned or (query.dtype == torch.bfloat16 and query.requires_grad)


def _by_products(query: Tensor, key: Tensor, value: Tensor, seen: Visibility, probability: float, scale: float | None) -> Tensor:
    bias = _bias(_not_later(query.shape[2], query.device), query.dtype) if seen.causal else seen.bias
    scaled = query if scale == 1 else query * (query.shape[-1] ** -0.5 if scale is None else scale)
    scores: Tensor = scaled @ key.transpose(-1, -2)  # [batch, heads, query, key]
    weights = (scores if bias is None else scores + bias).softmax(dim=-1)
    if probability:
        # Dropout's scale is applied to the values, of which there are fewer than weights.
        weights = weights * kept(weights, probability)
        value = value * kept_scale(probability)
    return weights @ value


class JoinedLinear(nn.Linear):
    """Several linear layers with the same input, in one product.

    Args:
        width: the size of the input.
        parts: the number of layers; optimisers that measure the norm of a layer's weights measure each.
        part_width: the size of each layer's output; None for that of the input.
        bias: whether the layers have biases.
    """

    def __init__(self, width: int, parts: int, part_width: int | None = None, bias: bool = True) -> None:
        super().__init__(width, parts * (part_width or width), bias=bias)
        self.parts = parts


class SelfAttention(nn.Module):
    """Multi-head attention of a sequence to itself; queries, keys and values come from one product.

    Args:
        width: the size of a hidden state.
        heads: the number of heads.
        attention_dropout: of attention weights.
        head_width: the size of a head; None where the heads together are as wide as a hidden state.
        bias: whether the linear layers have biases.
        scale: of the products of queries and keys; None for 1/sqrt(head width).
    """

    def __init__(
        self,
        width: int,
        heads: int,
        attention_dropout: float,
        *,
        head_width: int | None = None,
        bias: bool = True,
        scale: float | None = None,
    ) -> None:
        super().__init__()
        self.heads, self.scale = heads, scale
        self.attention_dropout = attention_dropout
        inner = heads * (head_width or width // heads)
        self.query_key_value = JoinedLinear(width, 3, inner, bias)
        self.output = nn.Linear(inner, width, bias=bias)

    def forward(self, hidden: Tensor, seen: Visibility, cache: Cache | None = None) -> Tensor:
        """Mix hidden states.

        Args:
            hidden: [batch, length, width].
            seen: which positions see each other.
            cache: the keys and values of the positions before these; theirs are appended.

        Returns:
            The shape of ``hidden``.
        """
        output: Tensor = self.output(self.mixed(hidden, seen, cache))
        return output

    def mixed(self, hidden: Tensor, seen: Visibility, cache: Cache | None = None) -> Tensor:
        """Return the outputs of the heads, concatenated, before the output product; arguments and shape as in ``forward``."""
        batch, length = hidden.shape[:2]
        parts = self.query_key_value(hidden).view(batch, length, 3, self.heads, -1)
        parts = parts.permute(2, 0, 3, 1, 4)  # [3, batch, heads, length, head width]
        if cache is not None and cache.length:
            cache.extend(parts[1:])
            query, (key, value) = parts[0], cache.read()
        else:
            query, key, value = parts.contiguous()
            if cache is not None:
                cache.extend(parts[1:])
        heads = attend(query, key, value, seen, self.attention_dropout if self.training else 0.0, self.scale)
        return heads.transpose(1, 2).reshape(batch, length, -1)


class CrossAttention(nn.Module):
    """Multi-head attention of one sequence to another.

    Args:
        width: the size of a hidden state in both.
        heads: the number of heads.
        attention_dropout: of attention weights.
        head_width, bias, scale: as in ``SelfAttention``.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        attention_dropout: float,
        *,
        head_width: int | None = None,
        bias: bool = True,
        scale: float | None = None,
    ) -> None:
        super().__init__()
        self.heads, self.scale = heads, scale
        self.attention_dropout = attention_dropout
        inner = heads * (head_width or width // heads)
        self.query = nn.Linear(width, inner, bias=bias)
        self.key_value = JoinedLinear(width, 2, inner, bias)
        self.output = nn.Linear(inner, width, bias=bias)

    def forward(self, hidden: Tensor, memory: Tensor, seen: Visibility, cache: Cache | None = None) -> Tensor:
        """Mix states of the memory into hidden states.

        Args:
            hidden: [batch, length, width].
            memory: [batch, memory length, width] the other sequence.
            seen: which positions see each other, from ``cross_visibility``.
            cache: keeps the memory's keys and values of the first call for all others.

        Returns:
            The shape of ``hidden``.
        """
        batch, length = hidden.shape[:2]
        query = self.query(hidden).view(batch, length, self.heads, -1).transpose(1, 2)  # [batch, heads, length, head width]
        if cache is None or not cache.length:
            parts = self.key_value(memory).view(batch, memory.shape[1], 2, self.heads, -1)
            parts = parts.permute(2, 0, 3, 1, 4).contiguous()  # [2, batch, heads, memory length, head width]
            key, value = parts
            if cache is not None:
                cache.extend(parts)
        else:
            key, value = cache.read()
        mixed = attend(query, key, value, seen, self.attention_dropout if self.training else 0.0, self.scale)
        output: Tensor = self.output(mixed.transpose(1, 2).reshape(batch, length, -1))
        return output
