"""The products of queries and distances, whose rows are multiplied in blocks."""

from __future__ import annotations

import pytest
import torch

from plmtrain.nn.relative_attention import distance_scores


@pytest.mark.parametrize(("length", "memory"), [(1, 0), (11, 0), (64, 0), (130, 0), (70, 33), (128, 7)])
def test_each_query_meets_the_vector_of_its_distance_from_each_key(length: int, memory: int) -> None:
    """And so do the gradients of both: within one block, at the borders of blocks, and in a last one that is not full."""
    keys = memory + length
    generator = torch.Generator().manual_seed(length)
    queries, distances = torch.randn(2, 3, length, 4, generator=generator), torch.randn(keys + length, 3, 4, generator=generator)
    outer = torch.randn(2, 3, length, keys, generator=generator)
    row = torch.arange(keys) + length - torch.arange(length)[:, None]  # [length, keys]
    results = []
    for compute in (
        lambda one, other: distance_scores(one, other, keys),
        lambda one, other: torch.einsum("bhid,ijhd->bhij", one, other[row]),
    ):
        both = [each.clone().requires_grad_() for each in (queries, distances)]
        made = compute(*both)
        results.append([made.detach(), *torch.autograd.grad((made * outer).sum(), both)])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
