"""Attention with relative positions and segments (Dai et al. 2019, section 3.3; Yang et al. 2019, section 2.5).

The score of a query and a key is the sum of three parts: the key's content, its distance, and whether it is of the same segment,
each with its own bias beside the query. Keys may include a memory before the row, and the queries may be a subset of the row.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from plmtrain.nn.attention import Visibility
from plmtrain.nn.dropout import dropout

_BLOCK = 64
"""Queries that are multiplied by a part of the table of distances together: 32 to 256 took about the same time in rows of 512."""


class Sight(NamedTuple):
    """Which keys some queries see, and how these relate to them; the same in every layer."""

    seen: Visibility | None
    """Which queries see which keys, [batch, 1, query, key]; None where each query sees every key."""
    differs: Tensor | None = None
    """[batch, 1, query, key], 1 where a key is of another segment than the query, else 0; None where all are of one."""
    distances: Tensor | None = None
    """[batch, 1, query, key] the index of each pair in the table of distances; None where the queries are the whole row."""


class ProjectedKeys(NamedTuple):
    """Keys, values and distances after a layer's projections, the same for all streams."""

    keys: Tensor
    """[batch, heads, key, head width]."""
    values: Tensor
    """[batch, heads, key, head width]."""
    distances: Tensor
    """[distance, heads, head width]."""


def sinusoids(length: int, keys: int, width: int, device: torch.device) -> Tensor:
    """Return the table of distances between the queries of a row and the keys, of which the last ones are the row itself.

    Args:
        length: the number of queries.
        keys: the number of keys, at least as many.
        width: of a hidden state: the first half are sines, the second half cosines of the same angles.

    Returns:
        [keys + length, width], from the distance ``keys`` (to the left) down to ``1 - length`` (to the right).
    """
    distances = torch.arange(keys, -length, -1, dtype=torch.float32, device=device)
    frequencies = 10000 ** -(torch.arange(0, width, 2, dtype=torch.float32, device=device) / width)
    angles = distances[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


def places_in_table(queries: Tensor, length: int, keys: int) -> Tensor:
    """Return the index of each pair of some queries and all keys in the table of distances.

    Args:
        queries: [batch, query] positions in the row.
        length: of the row.
        keys: the number of keys, at least as many; the last ones are the row.

    Returns:
        [batch, 1, query, key].
    """
    return (torch.arange(keys, device=queries.device) + (length - queries)[..., None])[:, None]


def distance_scores(queries: Tensor, distances: Tensor, keys: int) -> Tensor:
    """Return the product of each query and the vector of its distance from each key.

    The distance of query i and key j is in row j + length - i of a table. Of the products with the whole table, half are of
    distances that do not occur for their query; with the part that a block of queries needs, few are. On one core, these
    products and their gradients took 0.3 to 0.4 of the time of those with the whole table in rows of 512.

    Args:
        queries: [batch, heads, length, head width].
        distances: [keys + length, heads, head width], from the distance ``keys`` (to the left) down to ``1 - length``, as in
            ``sinusoids``.
        keys: the number of keys.

    Returns:
        [batch, heads, length, keys].
    """
    batch, heads, length, width = queries.shape
    block = min(_BLOCK, length)
    blocks = -(-length // block)
    padding = blocks * block - length
    if padding:
        queries = functional.pad(queries, (0, 0, 0, padding))
        distances = functional.pad(distances, (0, 0, 0, 0, padding, 0))
    # The rows of the table that a block needs end where those of the block before it have one block left.
    tables = distances.permute(1, 2, 0).unfold(2, keys + block, block).permute(0, 2, 1, 3).flip(1).flatten(0, 1)
    by_block = queries.reshape(batch, heads, blocks, block, width).permute(1, 2, 0, 3, 4).flatten(0, 1).flatten(1, 2)
    scores = _aligned((by_block @ tables).view(heads, blocks, batch, block, keys + block), keys)
    return scores.permute(2, 0, 1, 3, 4).flatten(2, 3)[:, :, :length]


def _aligned(scores: Tensor, keys: int) -> Tensor:
    """Rearrange scores of each query for each distance into scores for each key.

    The score of query i and key j is at column j + length - i. Reading the rows as if each were one number shorter moves it to
    column j (Dai et al. 2019, appendix B).

    Args:
        scores: [..., length, keys + length].

    Returns:
        [..., length, keys].
    """
    *several, length, distances = scores.shape
    realigned = scores.reshape(*several, distances, length)[..., 1:, :]
    return realigned.reshape(*several, length, distances - 1)[..., :keys]


class RelativeAttention(nn.Module):
    """softmax([(q + u)k + (q + v)r + (q + w)s] / sqrt(d)) v, where each layer has its own biases u, v, w and segments s.

    The table of segments has a vector for the same and one for another segment. Only their difference matters, since a number
    added to all scores of a query does not change its softmax.

    Args:
        width: the size of a hidden state.
        heads: the number of heads.
        attention_dropout: of attention weights.
    """

    def __init__(self, width: int, heads: int, attention_dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.attention_dropout = attention_dropout
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)
        self.distance = nn.Linear(width, width, bias=False)
        self.output = nn.Linear(width, width, bias=False)
        self.content_bias = nn.Parameter(torch.empty(heads, width // heads))  # u
        self.distance_bias = nn.Parameter(torch.empty(heads, width // heads))  # v
        self.segment_bias = nn.Parameter(torch.empty(heads, width // heads))  # w
        self.segments = nn.Parameter(torch.empty(2, heads, width // heads))  # the same, another

    def initialise(self, std: float) -> None:
        """Draw the parameters that belong to neither a linear layer nor a norm."""
        for parameter in (self.content_bias, self.distance_bias, self.segment_bias, self.segments):
            nn.init.normal_(parameter, std=std)

    def keys(self, hidden: Tensor, table: Tensor) -> ProjectedKeys:
        """Project the keys, values and distances of this layer.

        Args:
            hidden: [batch, key, width] the states that the queries see.
            table: [distance, width] from ``sinusoids``.
        """
        distances = self.distance(table).view(len(table), self.heads, -1)
        return ProjectedKeys(self._by_head(self.key(hidden)), self._by_head(self.value(hidden)), distances)

    def forward(self, hidden: Tensor, keys: ProjectedKeys, sight: Sight) -> Tensor:
        """Attend to the keys.

        Args:
            hidden: [batch, query, width] the queries' states.
            keys: from ``keys``.
            sight: which keys the queries see.

        Returns:
            [batch, query, width]: zeros, before the residual is added, for a query that sees nothing.
        """
        query = self._by_head(self.query(hidden))  # [batch, heads, query, head width]
        scale = query.shape[-1] ** -0.5
        scores = ((query + self.content_bias[:, None]) * scale) @ keys.keys.transpose(-1, -2)
        biased_query = (query + self.distance_bias[:, None]) * scale
        if sight.distances is None:
            of_distances = distance_scores(biased_query, keys.distances, scores.shape[3])
        else:
            of_all = torch.einsum("bhqd,phd->bhqp", biased_query, keys.distances)  # [batch, heads, query, distance]
            of_distances = of_all.gather(3, sight.distances.expand(-1, self.heads, -1, -1))
        scores = scores + of_distances  # [batch, heads, query, key]
        if sight.differs is not None:
            segment_difference = (self.segments[1] - self.segments[0])[:, :, None] * scale  # [heads, head width, 1]
            scores = scores + ((query + self.segment_bias[:, None]) @ segment_difference) * sight.differs
        if sight.seen is not None and sight.seen.bias is not None:
            scores = scores + sight.seen.bias
        weights = dropout(scores.softmax(dim=-1), self.attention_dropout, self.training)
        mixed = weights.to(keys.values.dtype) @ keys.values
        if sight.seen is not None and sight.seen.sighted is not None:
            mixed = mixed * sight.seen.sighted
        output: Tensor = self.output(mixed.transpose(1, 2).flatten(2))
        return output

    def _by_head(self, hidden: Tensor) -> Tensor:
        batch, length, width = hidden.shape
        return hidden.view(batch, length, self.heads, width // self.heads).transpose(1, 2)
