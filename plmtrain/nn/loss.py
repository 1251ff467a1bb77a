"""Losses as sums, so that the trainer divides by what all micro-batches and processes counted together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

_CACHED = 2**19
"""Numbers that a core's cache holds: the logits are worked on in pieces of about so many."""

_SMALLEST = 1e-30
"""A smaller probability has lost digits in fp32, or all of them; its logarithm is then taken from the logits."""

_SCORED_ON_CPU, _SCORED_ON_GPU = 2**22, 2**27
"""Logits that ``tied_cross_entropy`` makes at a time."""


def cross_entropy_sum(logits: Tensor, labels: Tensor) -> Tensor:
    """The sum of the negative log-probabilities of the labels, in fp32 whatever the logits' type.

    Args:
        logits: [n, classes]; n may be 0, and the sum is then a zero attached to the graph.
        labels: [n] int64.

    Returns:
        A scalar in nats.
    """
    if logits.device.type == "cpu" and logits.requires_grad and torch.is_grad_enabled():
        total: Tensor = _CrossEntropySum.apply(logits, labels)  # type: ignore[no-untyped-call]
        return total
    return functional.cross_entropy(logits.float(), labels, reduction="sum")


class _CrossEntropySum(torch.autograd.Function):
    """The loss and its gradient, softmax - onehot(label), in one walk over the logits.

    Nothing on a CPU costs as much as walking over [n, vocabulary] numbers in memory, and torch does so a dozen times.
    The way back can be walked once: it overwrites what the way forth kept.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Tensor) -> Tensor:
        losses, slope = _losses_and_slope(logits, labels)
        ctx.save_for_backward(slope)
        return losses.sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor, None]:
        (slope,) = ctx.saved_tensors
        return slope.mul_(outer), None


def _losses_and_slope(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Each row's loss in fp32, and its gradient in the logits' type."""
    slope = torch.empty_like(logits)
    likelihood = torch.empty(len(logits), 1, dtype=torch.float32, device=logits.device)
    chosen = labels[:, None]
    step = max(1, _CACHED // logits.shape[1]) if logits.device.type == "cpu" else max(1, len(logits))
    for start in range(0, len(logits), step):
        rows = slice(start, start + step)
        if slope.dtype == torch.float32:
            probabilities = torch.softmax(logits[rows], dim=1, out=slope[rows])
        else:
            probabilities = logits[rows].float().softmax(dim=1)
        torch.gather(probabilities, 1, chosen[rows], out=likelihood[rows])
        probabilities.scatter_add_(1, chosen[rows], torch.full_like(chosen[rows], -1, dtype=torch.float32))
        if slope.dtype != torch.float32:
            slope[rows] = probabilities
    losses = -likelihood[:, 0].log()
    vanished = (likelihood[:, 0] < _SMALLEST).nonzero()[:, 0]
    if len(vanished):
        losses[vanished] = functional.cross_entropy(logits[vanished].float(), labels[vanished], reduction="none")
    return losses, slope


def tied_cross_entropy(hidden: Tensor, weight: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The loss of scoring hidden states against a table, without ever holding the scores of all of them.

    Where every token of a row is predicted, [n, vocabulary] logits would be the largest tensor of a training step by far. Here
    a chunk of rows is scored at a time, and where gradients are wanted they are made at once, so that no chunk is scored twice.

    Args:
        hidden: [n, width] hidden states; n may be 0, and the sum is then a zero attached to the graph.
        weight: [vocabulary, width] the table.
        labels: [n] int64.

    Returns:
        The sum of the negative log-probabilities of the labels in nats, as ``cross_entropy_sum(hidden @ weight.T, labels)``
        gives it, and each of them alone, without a gradient.  # [], [n], both fp32
    """
    if torch.is_grad_enabled() and (hidden.requires_grad or weight.requires_grad):
        total, losses = _TiedCrossEntropy.apply(hidden, weight, labels)  # type: ignore[no-untyped-call]
        return total, losses.detach()
    parts = [
        functional.cross_entropy(functional.linear(hidden[rows], weight).float(), labels[rows], reduction="none")
        for rows in _chunks(hidden, weight)
    ]
    losses = torch.cat(parts) if parts else hidden.new_zeros(0, dtype=torch.float32)
    return losses.sum(), losses


def _chunks(hidden: Tensor, weight: Tensor) -> Iterator[slice]:
    """Rows that are scored at a time: as many as make products efficient, few enough to weigh little."""
    step = max(1, (_SCORED_ON_CPU if hidden.device.type == "cpu" else _SCORED_ON_GPU) // len(weight))
    for start in range(0, len(hidden), step):
        yield slice(start, start + step)


class _TiedCrossEntropy(torch.autograd.Function):
    """The loss, and the gradients of states and table, chunk by chunk on the way forth; the way back only scales them."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        losses = torch.empty(len(hidden), dtype=torch.float32, device=hidden.device)
        hidden_slope, weight_slope = torch.empty_like(hidden), torch.zeros_like(weight)
        device = hidden.device.type
        kind = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype
        table = weight.to(kind)
        for rows in _chunks(hidden, weight):
            states = hidden[rows].to(kind)
            losses[rows], slope = _losses_and_slope(states @ table.t(), labels[rows])
            hidden_slope[rows] = slope @ table
            if kind == weight.dtype:
                weight_slope.addmm_(slope.t(), states)
            else:
                weight_slope += slope.t() @ states
        ctx.save_for_backward(hidden_slope, weight_slope)
        ctx.mark_non_differentiable(losses)
        return losses.sum(), losses

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor, _: Tensor) -> tuple[Tensor, Tensor, None]:
        hidden_slope, weight_slope = ctx.saved_tensors
        return hidden_slope.mul_(outer), weight_slope.mul_(outer), None
