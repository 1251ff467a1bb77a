"""Losses as sums, so that the trainer divides by what all micro-batches and processes counted together."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def cross_entropy_sum(logits: Tensor, labels: Tensor) -> Tensor:
    """The sum of the negative log-probabilities of the labels, in fp32 whatever the logits' type.

    Args:
        logits: [n, classes]; n may be 0, and the sum is then a zero attached to the graph.
        labels: [n] int64.

    Returns:
        A scalar in nats.
    """
    return functional.cross_entropy(logits.float(), labels, reduction="sum")
