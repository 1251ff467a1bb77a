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
from plmtrain.nn.dropout import dropout


class Visibility(NamedTuple):
    """A layout made ready for the attention of every layer.

    Where a query may see no key at all, ``mask`` lets it see all of them, so that its softmax is finite, and ``sighted`` then
    makes its output zero. The usual ways, a large negative number or minus infinity, give a mean over keys that it may not see,
    or NaN.
    """

    mask: Tensor | None = None
    """[batch, 1, 1 or query, key] bool, whether a query attends to a key; None where nothing but ``causal`` hides any."""
    sighted: Tensor | None = None
    """[batch, 1, 1 or query, 1] bool, whether a query may see any key; None where every one does."""
    causal: bool = False
    """Whether a query sees only keys that are not to its right. False where ``mask`` says so already."""


def visibility(layout: Layout, length: int) -> Visibility:
    """Combine the rules of a layout.

    Args:
        layout: who may see whom, for rows of ``length`` positions.
        length: positions in a row.
    """
    rules = []
    if layout.tokens is not None:
        rules.append(layout.tokens[:, None, :])  # [batch, 1, key]
    if layout.documents is not None:
        rules.append(layout.documents[:, :, None] == layout.documents[:, None, :])  # [batch, query, key]
    if layout.visible is not None:
        rules.append(layout.visible)
    if not rules:
        return Visibility(causal=layout.causal)
    if layout.causal:
        rules.append(torch.ones(length, length, dtype=torch.bool, device=rules[0].device).tril()[None])
    mask = rules[0]
    for rule in rules[1:]:
        mask = mask & rule
    sighted = mask.any(dim=-1, keepdim=True)
    return Visibility(mask=(mask | ~sighted)[:, None], sighted=sighted[:, None])


def attend(query: Tensor, key: Tensor, value: Tensor, seen: Visibility, probability: float) -> Tensor:
    """softmax(QK'/sqrt(d))V over the keys that each query may see; zero for a query that may see none.

    Args:
        query, key, value: [batch, heads, length, head width].
        seen: who may see whom.
        probability: of dropping an attention weight; 0 outside training.

    Returns:
        [batch, heads, length, head width].
    """
    if query.device.type == "cpu":
        output = _by_products(query, key, value, seen, probability)
    else:
        output = functional.scaled_dot_product_attention(
            query, key, value, attn_mask=seen.mask, dropout_p=probability, is_causal=seen.causal
        )
    return output if seen.sighted is None else output * seen.sighted


def _by_products(query: Tensor, key: Tensor, value: Tensor, seen: Visibility, probability: float) -> Tensor:
    scores = (query / math.sqrt(query.shape[-1])) @ key.transpose(-1, -2)  # [batch, heads, query, key]
    if seen.mask is not None:
        scores = scores.masked_fill(~seen.mask, -math.inf)
    elif seen.causal:
        hidden = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(1)
        scores = scores.masked_fill(hidden, -math.inf)
    weights = dropout(scores.softmax(dim=-1), probability, training=True)
    return weights @ value


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
        self.query_key_value = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, width)

    def forward(self, hidden: Tensor, seen: Visibility) -> Tensor:
        """Mix hidden states.  # [batch, length, width] -> the same"""
        batch, length, width = hidden.shape
        parts = self.query_key_value(hidden).view(batch, length, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)  # each [batch, heads, length, head width]
        mixed = attend(query, key, value, seen, self.attention_dropout if self.training else 0.0)
        output: Tensor = self.output(mixed.transpose(1, 2).reshape(batch, length, width))
        return output
