"""Relative positions as numbers that are added to attention scores (Raffel et al. 2020, section 2.1)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


def buckets_of(distances: Tensor, buckets: int, max_distance: int, *, bidirectional: bool) -> Tensor:
    """Return the bucket of each distance, as in the authors' code: near distances have their own, far ones share some.

    Half of the buckets of a direction are for single distances; the others grow with the logarithm, and the last one also has all
    distances from ``max_distance`` on.

    Args:
        distances: int64, the key's position minus the query's.
        buckets: their number.
        max_distance: from there on all distances are alike.
        bidirectional: whether half of the buckets are for keys to the right; otherwise those have bucket 0.
    """
    offset = torch.zeros_like(distances)
    if bidirectional:
        buckets //= 2
        offset = (distances > 0) * buckets
        apart = distances.abs()
    else:
        apart = (-distances).clamp(min=0)
    exact = buckets // 2
    growth = torch.log(apart.clamp(min=1).float() / exact) / math.log(max_distance / exact)
    far = (exact + (growth * (buckets - exact)).long()).clamp(max=buckets - 1)
    return offset + torch.where(apart < exact, apart, far)


class RelativeBias(nn.Module):
    """A number for each bucket of distances and each head, the same for all layers of a stack.

    Args:
        heads: the number of heads.
        buckets: the number of buckets.
        max_distance: the distance from which on all are alike.
        bidirectional: whether keys to the right of a query have buckets.
    """

    def __init__(self, heads: int, buckets: int, max_distance: int, *, bidirectional: bool) -> None:
        super().__init__()
        self.max_distance, self.bidirectional = max_distance, bidirectional
        self.weight = nn.Parameter(torch.empty(buckets, heads))

    def forward(self, queries: int, keys: int) -> Tensor:
        """Return what is added to the scores of each head.

        Args:
            queries: the number of queries, which are the last ones of the keys' positions.
            keys: the number of keys.

        Returns:
            [1, heads, queries, keys].
        """
        distances = torch.arange(1 - keys, queries, device=self.weight.device)
        rows = buckets_of(distances, len(self.weight), self.max_distance, bidirectional=self.bidirectional)
        of_distances = self.weight.index_select(0, rows).t()  # [heads, distances]
        # The keys of a query are a window of the distances that begins one further to the left for each query.
        return of_distances.unfold(1, keys, 1).flip(1)[None]
