"""Attention with relative positions and segments (Dai et al. 2019, section 3.3; Yang et al. 2019, section 2.5).

A query scores a key by what it is, by how far away it is, and by whether it is of the same segment, each with a bias of its own
beside the query. Keys may lie before the row, in a memory, and the queries may be some positions of the row alone.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from plmtrain.nn.attention import Visibility
from plmtrain.nn.dropout import dropout


class Sight(NamedTuple):
    """What some queries see of the keys, the same in every layer."""

    seen: Visibility | None
    """Who may see whom, [batch, 1, query, key]; None where each query sees every key."""
    differs: Tensor | None = None
    """[batch, 1, query, key], 1 where a key is of another segment, else 0; None where all are of one."""
    distances: Tensor | None = None
    """[batch, 1, query, key] where in the table of distances a pair's is; None where the queries are the whole row."""


class ProjectedKeys(NamedTuple):
    """What queries are compared with and mix, the same for all streams."""

    keys: Tensor
    """[batch, heads, key, head width]."""
    values: Tensor
    """[batch, heads, key, head width]."""
    distances: Tensor
    """[distance, heads, head width]."""


def sinusoids(length: int, keys: int, width: int, device: torch.device) -> Tensor:
    """The table of distances between the queries of a row and the keys that end with it.

    Args:
        length: queries.
        keys: as many or more.
        width: of a hidden state: the first half are sines, the second half cosines of the same angles.

    Returns:
        [keys + length, width], from the distance ``keys`` (to the left) down to ``1 - length`` (to the right).
    """
    distances = torch.arange(keys, -length, -1, dtype=torch.float32, device=device)
    frequencies = 10000 ** -(torch.arange(0, width, 2, dtype=torch.float32, device=device) / width)
    angles = distances[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


def places_in_table(queries: Tensor, length: int, keys: int) -> Tensor:
    """Where in the table of distances some queries find each key.

    Args:
        queries: [batch, query] positions in the row.
        length: of the row.
        keys: as many or more, ending with the row.

    Returns:
        [batch, 1, query, key].
    """
    return (torch.arange(keys, device=queries.device) + (length - queries)[..., None])[:, None]


def shifted(scores: Tensor, keys: int) -> Tensor:
    """Scores of each query for each distance, moved so that they are scores for each key.

    Query i finds key j at the place j + length - i. Read row after row, one number shorter each, that is where it stands (Dai
    et al. 2019, appendix B).

    Args:
        scores: [batch, heads, length, keys + length].

    Returns:
        [batch, heads, length, keys].
    """
    batch, heads, length, distances = scores.shape
    turned = scores.reshape(batch, heads, distances, length)[:, :, 1:]
    return turned.reshape(batch, heads, length, distances - 1)[..., :keys]


class RelativeAttention(nn.Module):
    """softmax([(q + u)k + (q + v)r + (q + w)s] / sqrt(d)) v, the biases u, v, w and segments s being a layer's own.

    The table of segments holds a vector for the same and one for another segment. Only their difference matters, since a number
    added to all scores of a query changes no softmax.

    Args:
        width: the size of a hidden state.
        heads: how many heads share it.
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
        """Draw what is neither a linear layer nor a norm."""
        for parameter in (self.content_bias, self.distance_bias, self.segment_bias, self.segments):
            nn.init.normal_(parameter, std=std)

    def keys(self, hidden: Tensor, table: Tensor) -> ProjectedKeys:
        """What queries of this layer are compared with.

        Args:
            hidden: [batch, key, width] the states that are seen.
            table: [distance, width] from ``sinusoids``.
        """
        distances = self.distance(table).view(len(table), self.heads, -1)
        return ProjectedKeys(self._by_head(self.key(hidden)), self._by_head(self.value(hidden)), distances)

    def forward(self, hidden: Tensor, keys: ProjectedKeys, sight: Sight) -> Tensor:
        """Mix what the queries see.

        Args:
            hidden: [batch, query, width] the states that ask.
            keys: from ``keys``.
            sight: what the queries see.

        Returns:
            [batch, query, width]: zeros, before the residual is added, for a query that sees nothing.
        """
        query = self._by_head(self.query(hidden))  # [batch, heads, query, head width]
        scale = query.shape[-1] ** -0.5
        scores = ((query + self.content_bias[:, None]) * scale) @ keys.keys.transpose(-1, -2)
        asked = (query + self.distance_bias[:, None]) * scale
        far = torch.einsum("bhqd,phd->bhqp", asked, keys.distances)  # [batch, heads, query, distance]
        if sight.distances is None:
            far = shifted(far, scores.shape[3])
        else:
            far = far.gather(3, sight.distances.expand(-1, self.heads, -1, -1))
        scores = scores + far  # [batch, heads, query, key]
        if sight.differs is not None:
            other = (self.segments[1] - self.segments[0])[:, :, None] * scale  # [heads, head width, 1]
            scores = scores + ((query + self.segment_bias[:, None]) @ other) * sight.differs
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
