"""Scaled dot-product attention (Vaswani et al. 2017, section 3.2), and who may see whom in it.

This is the only place that reads a layout. The rules of a layout are combined once for each forward pass, and not at all where
there are none.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from plmtrain.batch import Layout
from plmtrain.nn.dropout import kept, kept_scale


class Visibility(NamedTuple):
    """A layout made ready for the attention of every layer.

    Where a query may see no key at all, ``bias`` lets it see all of them, so that its softmax is finite, and ``sighted`` then
    makes its output zero. The usual ways, a large negative number or minus infinity, give a mean over keys that it may not see,
    or NaN.
    """

    bias: Tensor | None = None
    """[batch, 1, 1 or query, key], added to scores: 0 where a query sees a key, else minus infinity. None where nothing but
    ``causal`` hides any."""
    sighted: Tensor | None = None
    """[batch, 1, 1 or query, 1], 1 where a query sees any key, else 0; None where every one does."""
    causal: bool = False
    """Whether a query sees only keys that are not to its right. False where ``bias`` says so already."""


def visibility(layout: Layout, hidden: Tensor) -> Visibility:
    """Make a layout ready.

    Args:
        layout: who may see whom.
        hidden: [batch, length, width] what the first layer gets.
    """
    if all(rule is None for rule in (layout.tokens, layout.documents, layout.ranks, layout.visible)):
        return Visibility(causal=layout.causal)
    seen = may_see(layout, hidden.shape[1], hidden.device)
    assert seen is not None
    return ready(seen, hidden)


def cross_visibility(layout: Layout, memory: Layout, hidden: Tensor) -> Visibility:
    """Make ready what positions may see of another sequence: its real tokens, and those of their own document.

    Args:
        layout: of the sequence that looks.
        memory: of the sequence that is seen.
        hidden: [batch, length, width] what the first layer of the looking sequence gets.
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
        layout: who may see whom.
        length: of a row.
        device: where the rules are.

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
        rules.append(_not_later(length, device)[None])
    if not rules:
        return None
    seen = rules[0]
    for rule in rules[1:]:
        seen = seen & rule
    return seen


def ready(seen: Tensor, hidden: Tensor) -> Visibility:
    """Make one rule ready for attention.

    Args:
        seen: [batch or 1, query or 1, key] whether a query may see a key.
        hidden: what the first layer gets, for its type.
    """
    sighted = seen.any(dim=-1, keepdim=True)
    # Attention's products are in autocast's type where that is on, and adding another type would cost a copy in every layer.
    device = hidden.device.type
    kind = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype
    return Visibility(bias=_bias(seen | ~sighted, kind)[:, None], sighted=sighted[:, None].to(kind))


def _not_later(length: int, device: torch.device) -> Tensor:
    return torch.ones(length, length, dtype=torch.bool, device=device).tril()  # [query, key]


def _bias(seen: Tensor, kind: torch.dtype) -> Tensor:
    return torch.zeros(seen.shape, dtype=kind, device=seen.device).masked_fill_(~seen, -math.inf)


def attend(query: Tensor, key: Tensor, value: Tensor, seen: Visibility, probability: float) -> Tensor:
    """softmax(QK'/sqrt(d))V over the keys that each query may see; zero for a query that may see none.

    Args:
        query, key, value: [batch, heads, length, head width].
        seen: who may see whom.
        probability: of dropping an attention weight; 0 outside training.

    Returns:
        [batch, heads, length, head width].
    """
    output: Tensor
    if _by_products_is_faster(query, probability):
        output = _by_products(query, key, value, seen, probability)
    else:
        output = functional.scaled_dot_product_attention(
            query, key, value, attn_mask=seen.bias, dropout_p=probability, is_causal=seen.causal
        )
    if seen.sighted is not None:
        output = output * seen.sighted
    return output


def _by_products_is_faster(query: Tensor, probability: float) -> bool:
    """Whether to write attention out.

    Torch's CPU kernel has no dropout, and is slow on the way back in bf16. On one core with AVX-512 and no AMX, at 128, 256 and
    512 positions, writing it out took 0.5 to 0.9 of the time with dropout, and in bf16 0.3 to 0.9 without. In fp32 without
    dropout neither is always ahead, and where no gradient is needed torch's kernel was. GPUs were not measured.
    """
    if query.device.type != "cpu":
        return False
    return probability > 0 or (query.dtype == torch.bfloat16 and query.requires_grad)


def _by_products(query: Tensor, key: Tensor, value: Tensor, seen: Visibility, probability: float) -> Tensor:
    bias = _bias(_not_later(query.shape[2], query.device), query.dtype) if seen.causal else seen.bias
    scores: Tensor = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)  # [batch, heads, query, key]
    weights = (scores if bias is None else scores + bias).softmax(dim=-1)
    if probability:
        # Dropout's scale goes to the values, of which there are fewer than weights.
        weights = weights * kept(weights, probability)
        value = value * kept_scale(probability)
    return weights @ value


class Cache:
    """The keys and values that one attention has made so far, so that a sequence that grows pays for its new positions only.

    Args:
        capacity: how many positions there will be at most.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._kept: Tensor | None = None  # [2, batch, heads, capacity, head width]
        self.length = 0

    def extend(self, key: Tensor, value: Tensor) -> None:
        """Keep those of further positions.  # each [batch, heads, new, head width]"""
        if self._kept is None:
            batch, heads, _, width = key.shape
            self._kept = key.new_empty(2, batch, heads, self._capacity, width)
        end = self.length + key.shape[2]
        assert end <= self._capacity, (end, self._capacity)
        self._kept[0, :, :, self.length : end] = key
        self._kept[1, :, :, self.length : end] = value
        self.length = end

    def read(self) -> tuple[Tensor, Tensor]:
        """All keys and values.  # each [batch, heads, length, head width]"""
        assert self._kept is not None
        key, value = self._kept[:, :, :, : self.length]
        return key, value

    def select(self, rows: Tensor) -> None:
        """Go on with some rows of the batch, in that order; a row may be taken more than once.  # [rows] indices"""
        if self._kept is not None:
            self._kept = self._kept.index_select(1, rows)


class JoinedLinear(nn.Linear):
    """Several square layers that read the same, in one product.

    Args:
        width: what each reads and gives.
        parts: how many there are; optimisers that measure a layer's weights as a whole measure each.
    """

    def __init__(self, width: int, parts: int) -> None:
        super().__init__(width, parts * width)
        self.parts = parts


class SelfAttention(nn.Module):
    """Multi-head attention of a sequence to itself; queries, keys and values come from one product.

    Args:
        width: the size of a hidden state.
        heads: how many heads share it.
        attention_dropout: of attention weights.
    """

    def __init__(self, width: int, heads: int, attention_dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.attention_dropout = attention_dropout
        self.query_key_value = JoinedLinear(width, 3)
        self.output = nn.Linear(width, width)

    def forward(self, hidden: Tensor, seen: Visibility, cache: Cache | None = None) -> Tensor:
        """Mix hidden states.

        Args:
            hidden: [batch, length, width].
            seen: who may see whom.
            cache: the keys and values of the positions before these, which are added to it.

        Returns:
            The shape of ``hidden``.
        """
        output: Tensor = self.output(self.mixed(hidden, seen, cache))
        return output

    def mixed(self, hidden: Tensor, seen: Visibility, cache: Cache | None = None) -> Tensor:
        """What the heads give, side by side, before the output's product joins them; arguments and shape as in ``forward``."""
        batch, length, width = hidden.shape
        parts = self.query_key_value(hidden).view(batch, length, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4).contiguous()  # each [batch, heads, length, head width]
        if cache is not None:
            cache.extend(key, value)
            key, value = cache.read()
        heads = attend(query, key, value, seen, self.attention_dropout if self.training else 0.0)
        return heads.transpose(1, 2).reshape(batch, length, width)


class CrossAttention(nn.Module):
    """Multi-head attention of one sequence to another.

    Args:
        width: the size of a hidden state in both.
        heads: how many heads share it.
        attention_dropout: of attention weights.
    """

    def __init__(self, width: int, heads: int, attention_dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.attention_dropout = attention_dropout
        self.query = nn.Linear(width, width)
        self.key_value = JoinedLinear(width, 2)
        self.output = nn.Linear(width, width)

    def forward(self, hidden: Tensor, memory: Tensor, seen: Visibility, cache: Cache | None = None) -> Tensor:
        """Mix states of the memory into hidden states.

        Args:
            hidden: [batch, length, width].
            memory: [batch, memory length, width] the other sequence.
            seen: who may see whom, from ``cross_visibility``.
            cache: keeps the memory's keys and values from the first call to all others.

        Returns:
            The shape of ``hidden``.
        """
        batch, length, width = hidden.shape
        query = self.query(hidden).view(batch, length, self.heads, -1).transpose(1, 2)  # [batch, heads, length, head width]
        if cache is None or not cache.length:
            parts = self.key_value(memory).view(batch, memory.shape[1], 2, self.heads, width // self.heads)
            key, value = parts.permute(2, 0, 3, 1, 4).contiguous()  # each [batch, heads, memory length, head width]
            if cache is not None:
                cache.extend(key, value)
        else:
            key, value = cache.read()
        mixed = attend(query, key, value, seen, self.attention_dropout if self.training else 0.0)
        output: Tensor = self.output(mixed.transpose(1, 2).reshape(batch, length, width))
        return output
