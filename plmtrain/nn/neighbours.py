"""Initial weights with which the heads of a layer read the tokens beside each one, as those of trained models come to do.

A masked model that begins with random attention sees no more than which tokens are in a row, and stays at their frequencies until
a head has come to look beside the hidden one. Attention that begins with the patterns of trained layers learns sooner (Trockman
and Kolter 2023, arXiv 2305.09828; each head at its own distance: Zheng et al. 2024, arXiv 2404.01139, both for images). With
sinusoids as position embeddings a shift by some positions is a product with a matrix (Vaswani et al. 2017, section 3.5), which
queries can hold.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from plmtrain.nn.attention import SelfAttention

SCORE = 12.0
"""The score of the position that a head looks for, where positions are half of what the layer reads; those far away have about 0.
With twice as much it sees nothing else, and learns later."""

_SLOWEST = 0.1
"""The slowest frequency that heads compare: slower ones do not tell neighbours apart."""


def position_sinusoids(positions: int, width: int) -> Tensor:
    """Return the sine and the cosine of each position at falling frequencies, by turns: Vaswani et al. 2017, section 3.5.

    Args:
        positions: the number of rows.
        width: the number of columns.

    Returns:
        [positions, width].
    """
    angles = torch.arange(positions, dtype=torch.float32)[:, None] * _frequencies(width)  # [positions, width / 2]
    return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)[:, :width]


def distances() -> Iterator[int]:
    """Yield the distances at which heads look: -1, 1, -2, 2, -3 ..."""
    for distance in itertools.count(1):
        yield -distance
        yield distance


@torch.no_grad()
def read_neighbours(table: nn.Embedding, attention: SelfAttention, projection: nn.Linear | None = None) -> None:
    """Set a table of positions to sinusoids, and let each head of a layer look at another distance.

    Args:
        table: the position embeddings, which are as large as before.
        attention: of the first layer. What its random weights do is kept, and added to.
        projection: between the embeddings and the layer; None if there is none.
    """
    positions, width = table.weight.shape
    root = table.weight.square().mean().sqrt()
    table.weight.copy_(position_sinusoids(positions, width) * root * math.sqrt(2))  # sin^2 + cos^2 = 1
    joined = attention.query_key_value.weight
    queries, keys, _ = joined.view(3, attention.heads, -1, joined.shape[1])  # [heads, head width, width]
    compared = _compared(width, most=queries.shape[1] // 2)
    if not len(compared):
        return  # heads that are one number wide
    # A head sums up cos(frequency * (distance between key and query - its own)), times the square of this.
    strength = math.sqrt(SCORE * math.sqrt(queries.shape[1]) / len(compared))
    # Directions that the projection nearly loses would need weights so large that they would drown all else.
    back = None if projection is None else torch.linalg.pinv(projection.weight, rtol=0.1)  # [width of embeddings, width]
    for head, distance in zip(range(attention.heads), distances(), strict=False):
        for weights, shift in ((queries[head], distance), (keys[head], 0)):
            turned = strength * _turn(compared, shift, width)
            weights[: len(turned)] += turned if back is None else turned @ back


def _frequencies(width: int) -> Tensor:
    """Return the angle between neighbouring positions for each pair of columns.  # [width / 2, rounded up]"""
    return torch.exp(-math.log(10000.0) * torch.arange(0, width, 2) / width)


def _compared(width: int, most: int) -> Tensor:
    """Return the numbers of the frequencies that a head compares, evenly from the fastest to the slowest of use.  # [<= most]"""
    useful = int((_frequencies(width) >= _SLOWEST).sum())
    return torch.linspace(0, useful - 1, min(most, useful)).round().long()


def _turn(chosen: Tensor, shift: int, width: int) -> Tensor:
    """Return the matrix that takes some frequencies of a position, and turns them to those of a later one.

    Args:
        chosen: [pairs] numbers of frequencies.
        shift: how much later.
        width: of the sinusoids.

    Returns:
        [2 * pairs, width].
    """
    angles = _frequencies(width)[chosen] * shift
    turn = torch.zeros(2 * len(chosen), width)
    sines, cosines = torch.arange(0, len(turn), 2), torch.arange(1, len(turn), 2)
    turn[sines, 2 * chosen] = turn[cosines, 2 * chosen + 1] = angles.cos()
    turn[sines, 2 * chosen + 1] = angles.sin()  # sin(a + b) = sin a cos b + cos a sin b
    turn[cosines, 2 * chosen] = -angles.sin()
    return turn
