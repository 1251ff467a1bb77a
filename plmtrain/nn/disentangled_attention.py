"""Disentangled attention (He et al. 2020, section 3.1): scores of contents, and of contents and relative positions.

The score of query i and key j is the sum of three products: of both contents, of the query's content and the distance i - j, and
of the distance and the key's content. The paper writes the distance of the last one as j - i; the authors' code, which the
published models were trained with, has i - j in both, and so has this module. The product of two positions is left out, too.

In the second version, long distances share rows of the table in buckets, and the table is projected by the weights of contents.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from plmtrain.nn.attention import JoinedLinear, Visibility, attend, biased
from plmtrain.nn.dropout import dropout
from plmtrain.nn.relative_attention import distance_scores


class Distances(NamedTuple):
    """The vectors of relative positions for rows of one length, the same in every layer."""

    table: Tensor
    """[rows, width], one for each distance that is told apart."""
    rows: Tensor
    """[2 * length + 1], the row of each distance from -length to length."""


@lru_cache(maxsize=256)
def rows_of_distances(length: int, most: int, buckets: int | None) -> tuple[int, Tensor]:
    """Return the rows of a table for the distances within a row of text.

    The table has a row for each distance below ``most`` to either side; longer ones share the last. With buckets, it has as many
    rows to either side as there are: distances up to half of them have a row each, and the longer ones below ``most`` share the
    others by their logarithm.

    Args:
        length: of the row of text.
        most: the number of distances that are told apart.
        buckets: the rows of the table to either side; None for a row for each distance.

    Returns:
        How many rows to either side of the table's middle are used, and the place of each distance from -length to length among
        them, [2 * length + 1], on the CPU.
    """
    distances = torch.arange(-length, length + 1, device="cpu")
    if buckets is not None:
        half = buckets // 2
        # In the precision of transformers' code, of the distances beyond half, where the logarithm is positive.
        far = distances.abs().clamp(min=half).float()
        share = torch.log(far / half) / torch.log(torch.tensor((most - 1) / half, device="cpu"))
        bucket = (torch.ceil(share * (half - 1)) + half).long() * distances.sign()
        distances = torch.where(distances.abs() <= half, distances, bucket)
    span = min(int(distances[-2]) + 1, buckets or most)  # length itself is no distance within a row
    return span, (distances + span).clamp(0, 2 * span - 1)


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
        shared_projections: whether r and s are projected by the weights of keys and queries, instead of weights of their own.
        key_bias: whether the projections of keys have biases; in the authors' first version they have none.
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
        shared_projections: bool,
        key_bias: bool,
        dropout: float,
        attention_dropout: float,
    ) -> None:
        super().__init__()
        self.heads = heads
        self.dropout, self.attention_dropout = dropout, attention_dropout
        self.scale = (width // heads * (1 + content_to_position + position_to_content)) ** -0.5
        self.content_to_position, self.position_to_content = content_to_position, position_to_content
        self.query_key_value = JoinedLinear(width, 3, bias=key_bias)
        if not key_bias:
            self.query_bias = nn.Parameter(torch.zeros(width))
            self.value_bias = nn.Parameter(torch.zeros(width))
        own_keys, own_queries = (term and not shared_projections for term in (content_to_position, position_to_content))
        self.position_key = nn.Linear(width, width, bias=key_bias) if own_keys else None
        self.position_query = nn.Linear(width, width) if own_queries else None
        self.output = nn.Linear(width, width)

    def keys(self, hidden: Tensor, distances: Distances | None) -> DisentangledKeys:
        """Project keys, values and distances.

        Args:
            hidden: [batch, length, width] the states that queries see.
            distances: for this length; None without any term of positions.
        """
        both = functional.linear(hidden, *self._content(1, 3))
        keys, values = (self._by_head(part) for part in both.chunk(2, dim=-1))
        if distances is None:
            return DisentangledKeys(keys, values, None, None)
        # Projected before it is spread over the distances: far ones share a row.
        table = dropout(distances.table, self.dropout, self.training)
        to_position = scores = None
        if self.content_to_position:
            projected = self._projected(table, self.position_key, 1) * self.scale
            to_position = functional.embedding(distances.rows[1:].flip(0), projected).view(-1, self.heads, keys.shape[-1])
        if self.position_to_content:
            projected = self._projected(table, self.position_query, 0) * self.scale
            from_position = functional.embedding(distances.rows[:-1], projected).view(-1, self.heads, keys.shape[-1])
            # A row for each key here, so that distances ascend along it as they descend along a query's row.
            scores = distance_scores(keys, from_position, keys.shape[2]).transpose(2, 3)
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
        query = self._by_head(functional.linear(hidden, *self._content(0, 1)))
        relative = keys.scores
        if keys.distances is not None:
            to_position = distance_scores(query, keys.distances, query.shape[2])
            relative = to_position if relative is None else to_position + relative
        if relative is not None:
            seen = biased(seen, relative, hidden)
        probability = self.attention_dropout if self.training else 0.0
        heads = attend(query, keys.keys, keys.values, seen, probability, self.scale)
        return heads.transpose(1, 2).flatten(2)

    def _content(self, first: int, end: int) -> tuple[Tensor, Tensor]:
        """Return the weight and bias of some of the projections of contents: 0 is that of queries, 1 of keys, 2 of values."""
        bias = self.query_key_value.bias
        if bias is None:
            bias = torch.cat([self.query_bias, torch.zeros_like(self.query_bias), self.value_bias])
        rows = slice(first * len(bias) // 3, end * len(bias) // 3)
        return self.query_key_value.weight[rows], bias[rows]

    def _projected(self, table: Tensor, own: nn.Linear | None, content: int) -> Tensor:
        """Project the table by weights of its own, or by those of a content.  # [rows, width] -> the same"""
        projected: Tensor = functional.linear(table, *self._content(content, content + 1)) if own is None else own(table)
        return projected

    def _by_head(self, hidden: Tensor) -> Tensor:
        batch, length, width = hidden.shape
        return hidden.view(batch, length, self.heads, width // self.heads).transpose(1, 2)
