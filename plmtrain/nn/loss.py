"""Losses as sums, so that the trainer divides by the counts of all micro-batches and processes together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

_CACHED = 2**19
"""Numbers that fit into a core's cache: logits are processed in pieces of about this size."""

_SMALLEST = 1e-30
"""A smaller probability has lost digits in fp32, or all of them; its logarithm is then taken from the logits."""

_SCORED_ON_CPU, _SCORED_ON_GPU = 2**22, 2**27
"""Logits that ``tied_cross_entropy`` computes at a time."""


def cross_entropy_sum(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the sum of the negative log-probabilities of the labels, in fp32 whatever the logits' type.

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
    """The loss and its gradient, softmax - onehot(label), in one pass over the logits.

    On a CPU the cost is dominated by passes over [n, vocabulary] numbers in memory, and torch makes a dozen of them. The backward
    pass works only once: it overwrites the tensor that the forward pass saved.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Tensor) -> Tensor:
        losses, gradient = _losses_and_gradient(logits, labels)
        ctx.save_for_backward(gradient)
        return losses.sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor, None]:
        (gradient,) = ctx.saved_tensors
        return gradient.mul_(outer), None


def _losses_and_gradient(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return each row's loss in fp32, and its gradient in the logits' type."""
    gradient = torch.empty_like(logits)
    likelihood = torch.empty(len(logits), 1, dtype=torch.float32, device=logits.device)
    label_column = labels[:, None]
    step = max(1, _CACHED // logits.shape[1]) if logits.device.type == "cpu" else max(1, len(logits))
    for start in range(0, len(logits), step):
        rows = slice(start, start + step)
        if gradient.dtype == torch.float32:
            probabilities = torch.softmax(logits[rows], dim=1, out=gradient[rows])
        else:
            probabilities = logits[rows].float().softmax(dim=1)
        torch.gather(probabilities, 1, label_column[rows], out=likelihood[rows])
        probabilities.scatter_add_(1, label_column[rows], torch.full_like(label_column[rows], -1, dtype=torch.float32))
        if gradient.dtype != torch.float32:
            gradient[rows] = probabilities
    losses = -likelihood[:, 0].log()
    if logits.device.type != "cpu":  # which likelihoods vanished, the device alone knows: to ask it would be to wait for it
        return functional.cross_entropy(logits.float(), labels, reduction="none"), gradient
    vanished = (likelihood[:, 0] < _SMALLEST).nonzero()[:, 0]
    if len(vanished):
        losses[vanished] = functional.cross_entropy(logits[vanished].float(), labels[vanished], reduction="none")
    return losses, gradient


def tied_cross_entropy(hidden: Tensor, weight: Tensor, labels: Tensor, bias: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return the loss of scoring hidden states against a table, without ever holding the logits of all of them.

    Where every token of a row is predicted, [n, vocabulary] logits would be by far the largest tensor of a training step. Here
    the logits of a chunk of rows are computed at a time, together with their gradients where those are needed, so that no chunk
    is computed twice.

    Args:
        hidden: [n, width] hidden states; n may be 0, and the sum is then a zero attached to the graph.
        weight: [vocabulary, width] the table.
        labels: [n] int64.
        bias: [vocabulary] added to the scores; None for none.

    Returns:
        The sum of the negative log-probabilities of the labels in nats, the same as
        ``cross_entropy_sum(hidden @ weight.T + bias, labels)``,
        and each of them alone, without a gradient.  # [], [n], both fp32
    """
    if torch.is_grad_enabled() and (hidden.requires_grad or weight.requires_grad):
        total, losses = _TiedCrossEntropy.apply(hidden, weight, labels, bias)  # type: ignore[no-untyped-call]
        return total, losses.detach()
    parts = [
        functional.cross_entropy(functional.linear(hidden[rows], weight, bias).float(), labels[rows], reduction="none")
        for rows in chunks(hidden, weight)
    ]
    losses = torch.cat(parts) if parts else hidden.new_zeros(0, dtype=torch.float32)
    return losses.sum(), losses


def smoothed(total: Tensor, hidden: Tensor, weight: Tensor, labels: Tensor, smoothing: float) -> Tensor:
    """Return the loss of targets of which a share is spread evenly over the table (Szegedy et al. 2016, section 7).

    The mean of a state's scores is its product with the table's mean row, so that no score is computed again: with a share e, the
    loss of a target y is ``-log p(y) + e (score(y) - mean score)``.

    Args:
        total: the sum of the negative log-probabilities of the labels, from ``tied_cross_entropy``.
        hidden, weight, labels: as there.
        smoothing: the share.

    Returns:
        The sum in nats, as torch's ``cross_entropy`` with ``label_smoothing``.  # []
    """
    above_mean = functional.embedding(labels, weight) - weight.mean(dim=0)  # [n, width]
    return total + smoothing * torch.sum(hidden.float() * above_mean.float())


def chunks(hidden: Tensor, weight: Tensor) -> Iterator[slice]:
    """Yield rows whose logits are computed at a time: enough to make products efficient, few enough to need little memory."""
    step = max(1, (_SCORED_ON_CPU if hidden.device.type == "cpu" else _SCORED_ON_GPU) // len(weight))
    for start in range(0, len(hidden), step):
        yield slice(start, start + step)


class _TiedCrossEntropy(torch.autograd.Function):
    """The loss, and the gradients of states and table, chunk by chunk in the forward pass; the backward pass only scales them."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, labels: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor]:
        losses = torch.empty(len(hidden), dtype=torch.float32, device=hidden.device)
        hidden_gradient, weight_gradient = torch.empty_like(hidden), torch.zeros_like(weight)
        bias_gradient = None if bias is None else torch.zeros_like(bias)
        device = hidden.device.type
        kind = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype
        table = weight.to(kind)
        for rows in chunks(hidden, weight):
            states = hidden[rows].to(kind)
            logits = states @ table.t() if bias is None else torch.addmm(bias.to(kind), states, table.t())
            losses[rows], gradient = _losses_and_gradient(logits, labels[rows])
            if bias_gradient is not None:
                bias_gradient += gradient.sum(dim=0, dtype=bias_gradient.dtype)
            hidden_gradient[rows] = gradient @ table
            if kind == weight.dtype:
                weight_gradient.addmm_(gradient.t(), states)
            else:
                weight_gradient += gradient.t() @ states
        ctx.save_for_backward(hidden_gradient, weight_gradient, bias_gradient)
        ctx.mark_non_differentiable(losses)
        return losses.sum(), losses

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor, _: Tensor) -> tuple[Tensor, Tensor, None, Tensor | None]:
        hidden_gradient, weight_gradient, bias_gradient = ctx.saved_tensors
        of_bias = None if bias_gradient is None else bias_gradient.mul_(outer)
        return hidden_gradient.mul_(outer), weight_gradient.mul_(outer), None, of_bias
