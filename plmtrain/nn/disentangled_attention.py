"""Disentangled attention (He et al. 2020, section 3.1): scores of contents, and of contents and relative positions.

The score of query i and key j is the sum of three products: of both contents, of the query's content and the distance i - j, and
of the distance and the key's content. The paper writes the distance of the last one as j - i; the authors' code, which the
published models were trained with, has i - j in both, and so has this module. The product of two positions is left out, too.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from plmtrain.nn.attention import JoinedLinear, Visibility, attend, biased
from plmtrain.nn.dropout import dropout
from plmtrain.nn.relative_attention import shifted


class Distances(NamedTuple):
    """The vectors of relative positions for rows of one length, the same in every layer."""

    table: Tensor
    """[rows, width], one for each distance that is told apart."""
    rows: Tensor
    """[2 * length + 1], the row of each distance from -length to length."""


class DisentangledKeys(NamedTuple):
    """Keys and values after a layer's projections, with all that does not depend on the queries."""

    keys: Tensor
    """[batch, heads, key, head width]."""
    values: Tensor
    """[batch, heads, key, head width]."""
    distances: Tensor | None
    """[2 * length, heads, head width], scaled, for the distances from length down to 1 - length; None without that term."""
    scores: Tensor | None
    """[batch, heads, query, key], scaled, the product of distances and the keys' content; None without that term."""


class DisentangledAttention(nn.Module):
    """softmax([q k + q r + s k] / sqrt(d * terms)) v, where r and s are two projections of the distance.

    Args:
        width: the size of a hidden state.
        heads: the number of heads.
        content_to_position: whether scores have the product q r.
        position_to_content: whether scores have the product s k.
        dropout: of the table of distances.
        attention_dropout: of attention weights.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        content_to_position: bool,
        position_to_content: bool,
        dropout: float,
        attention_dropout: float,
    ) -> None:
        super().__init__()
        self.heads = heads
        self.dropout, self.attention_dropout = dropout, attention_dropout
        self.scale = (width // heads * (1 + content_to_position + position_to_content)) ** -0.5
        # The key has no bias, as in the authors' code.
        self.query_key_value = JoinedLinear(width, 3, bias=False)
        self.query_bias = nn.Parameter(torch.zeros(width))
        self.value_bias = nn.Parameter(torch.zeros(width))
        self.position_key = nn.Linear(width, width, bias=False) if content_to_position else None
        self.position_query = nn.Linear(width, width) if position_to_content else None
        self.output = nn.Linear(width, width)

    def keys(self, hidden: Tensor, distances: Distances | None) -> DisentangledKeys:
        """Project keys, values and distances.

        Args:
            hidden: [batch, length, width] the states that queries see.
            distances: for this length; None without any term of positions.
        """
        width = hidden.shape[2]
        bias = torch.cat([torch.zeros_like(self.value_bias), self.value_bias])
        both = functional.linear(hidden, self.query_key_value.weight[width:], bias)
        keys, values = (self._by_head(part) for part in both.chunk(2, dim=-1))
        if distances is None:
            return DisentangledKeys(keys, values, None, None)
        # Projected before it is spread over the distances: far ones share a row.
        table = dropout(distances.table, self.dropout, self.training)
        to_position = scores = None
        if self.position_key is not None:
            projected = self.position_key(table) * self.scale
            to_position = functional.embedding(distances.rows[1:].flip(0), projected).view(-1, self.heads, keys.shape[-1])
        if self.position_query is not None:
            projected = self.position_query(table) * self.scale
            from_position = functional.embedding(distances.rows[:-1], projected).view(-1, self.heads, keys.shape[-1])
            # A row for each key here, so that distances ascend along it as they descend along a query's row.
            scores = shifted(torch.einsum("bhkd,phd->bhkp", keys, from_position), keys.shape[2]).transpose(2, 3)
        return DisentangledKeys(keys, values, to_position, scores)

    def mixed(self, hidden: Tensor, keys: DisentangledKeys, seen: Visibility) -> Tensor:
        """Return the outputs of the heads, concatenated, before the output product.

        Args:
            hidden: [batch, length, width] the queries' states.
            keys: from ``keys``.
            seen: which positions see each other.

        Returns:
            [batch, length, width]: zeros for a query that sees nothing.
        """
        weight = self.query_key_value.weight[: hidden.shape[2]]
        query = self._by_head(functional.linear(hidden, weight, self.query_bias))
        relative = keys.scores
        if keys.distances is not None:
            to_position = shifted(torch.einsum("bhqd,phd->bhqp", query, keys.distances), query.shape[2])
            relative = to_position if relative is None else to_position + relative
        if relative is not None:
            seen = biased(seen, relative, hidden)
        probability = self.attention_dropout if self.training else 0.0
        heads = attend(query, keys.keys, keys.values, seen, probability, self.scale)
        return heads.transpose(1, 2).flatten(2)

    def _by_head(self, hidden: Tensor) -> Tensor:
        batch, length, width = hidden.shape
        return hidden.view(batch, length, self.heads, width // self.heads).transpose(1, 2)
