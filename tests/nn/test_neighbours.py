"""Heads that look at the neighbours from the first step."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor, nn

from plmtrain.nn.attention import SelfAttention
from plmtrain.nn.neighbours import distances, position_sinusoids, read_neighbours


def test_sinusoids_are_those_of_the_paper() -> None:
    table = position_sinusoids(50, 16)
    for position, pair in itertools.product((0, 1, 7, 49), range(8)):
        angle = position / 10000 ** (2 * pair / 16)
        assert table[position, 2 * pair].item() == pytest.approx(math.sin(angle), abs=1e-5)
        assert table[position, 2 * pair + 1].item() == pytest.approx(math.cos(angle), abs=1e-5)
    assert position_sinusoids(4, 7).shape == (4, 7)


def test_heads_look_left_and_right_by_turns() -> None:
    assert list(itertools.islice(distances(), 6)) == [-1, 1, -2, 2, -3, 3]


def scores(width: int, heads: int, embedding_width: int | None = None) -> tuple[Tensor, nn.Embedding, Tensor]:
    """How every head scores the positions by their embeddings alone; the table, and its weights before."""
    torch.manual_seed(0)
    table = nn.Embedding(100, embedding_width or width)
    attention = SelfAttention(width, heads, 0.0)
    projection = nn.Linear(embedding_width, width) if embedding_width else None
    for weights in (table.weight, attention.query_key_value.weight, *([projection.weight] if projection else [])):
        nn.init.normal_(weights, std=0.01)
    if projection:
        nn.init.zeros_(projection.bias)
    before = table.weight.detach().clone()
    read_neighbours(table, attention, projection)
    read = table.weight / table.weight.square().mean().sqrt() / math.sqrt(2)  # half of what is read
    read = projection(read) if projection else read
    query, key, _ = nn.functional.linear(read, attention.query_key_value.weight).view(100, 3, heads, -1).permute(1, 2, 0, 3)
    return query @ key.transpose(1, 2) / math.sqrt(width // heads), table, before  # [heads, query, key]


@pytest.mark.parametrize(("width", "heads", "embedding_width"), [(256, 4, None), (192, 3, None), (768, 12, None), (256, 4, 64)])
def test_each_head_scores_another_distance_highest(width: int, heads: int, embedding_width: int | None) -> None:
    scored, table, before = scores(width, heads, embedding_width)
    places = torch.arange(20, 80)
    for head, distance in zip(range(heads), distances(), strict=False):
        assert scored[head, places].argmax(dim=1).tolist() == (places + distance).tolist()
        assert scored[head, places, places + distance].mean().item() == pytest.approx(12, abs=2.5)
    assert table.weight.square().mean().item() == pytest.approx(before.square().mean().item(), rel=0.02)


def test_what_random_weights_do_is_kept() -> None:
    """The first layer still tells contents apart: values stay as they are, queries and keys are added to."""
    torch.manual_seed(1)
    table, attention = nn.Embedding(10, 36), SelfAttention(36, 2, 0.0)
    before = attention.query_key_value.weight.detach().clone()
    read_neighbours(table, attention)
    added = attention.query_key_value.weight - before
    assert (added[72:] == 0).all()
    assert torch.linalg.matrix_rank(added[:18]) == torch.linalg.matrix_rank(added[36:54]) == 10  # five frequencies are of use
