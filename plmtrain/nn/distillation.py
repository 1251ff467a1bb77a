"""Differences between a student and a teacher: of probabilities of tokens (Hinton et al. 2015, section 2), and of attention
scores (Jiao et al. 2020, section 3.1)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from plmtrain.nn.attention import SelfAttention
from plmtrain.nn.loss import chunks


def tied_divergence(
    hidden: Tensor, weight: Tensor, bias: Tensor, taught: tuple[Tensor, Tensor, Tensor], temperature: float
) -> Tensor:
    """Return the divergence of a student from a teacher, without ever holding the logits of all states.

    It is ``temperature^2 * KL(softmax(t / temperature) || softmax(s / temperature))`` of the logits t of the teacher and s of the
    student, each of states times a table plus a bias. The logits of a chunk of both are computed at a time, together with the
    student's gradients where those are needed.

    Args:
        hidden: [n, width] the student's states; n may be 0, and the sum is then a zero attached to the graph.
        weight: [vocabulary, width] its table.
        bias: [vocabulary] its bias.
        taught: the same of the teacher, whose width may be another; it gets no gradients.
        temperature: the divisor of all logits.

    Returns:
        The sum over the states, in nats and fp32.  # []
    """
    if torch.is_grad_enabled() and (hidden.requires_grad or weight.requires_grad):
        total: Tensor = _TiedDivergence.apply(hidden, weight, bias, *taught, temperature)  # type: ignore[no-untyped-call]
        return total
    states, table, offset = taught
    parts = [
        divergences(functional.linear(hidden[rows], weight, bias), functional.linear(states[rows], table, offset), temperature)
        for rows in chunks(hidden, weight)
    ]
    return torch.cat(parts).sum() if parts else hidden.new_zeros((), dtype=torch.float32)


def divergences(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Return the divergence of each row of logits, in fp32.  # [n, vocabulary] twice -> [n]

    The difference of all probabilities, which is 0, is added: it cancels the rounding of the logarithms' constants, so that small
    divergences are exact, too.
    """
    ours, theirs = (functional.log_softmax(logits.float() / temperature, dim=-1) for logits in (student, teacher))
    wanted = theirs.exp()
    return temperature**2 * torch.sum(wanted * (theirs - ours) + (ours.exp() - wanted), dim=-1)


def attention_scores(attention: SelfAttention, hidden: Tensor) -> Tensor:
    """Return the scores of all pairs of positions, before the softmax and without any rule of a layout.

    The layer itself never has them as a whole: they are computed once more for a loss that compares them.

    Args:
        attention: of a layer.
        hidden: [batch, length, width] what it reads.

    Returns:
        [batch, heads, query, key].
    """
    joined = attention.query_key_value
    inner = joined.out_features // joined.parts
    weight, bias = joined.weight[: 2 * inner], None if joined.bias is None else joined.bias[: 2 * inner]
    parts = functional.linear(hidden, weight, bias).view(*hidden.shape[:2], 2, attention.heads, -1)
    query, key = parts.permute(2, 0, 3, 1, 4)  # [batch, heads, length, head width] each
    scale = query.shape[-1] ** -0.5 if attention.scale is None else attention.scale
    scores: Tensor = (query * scale) @ key.transpose(-1, -2)
    return scores


def score_differences(student: Tensor, teacher: Tensor, seen: Tensor | None) -> Tensor:
    """Return the squared differences of attention scores, the mean over heads, summed over pairs of positions, in fp32.

    Args:
        student, teacher: [batch, heads, query, key].
        seen: [batch, query, key] the pairs that count; None if all do.

    Returns:
        The sum over the pairs.  # []
    """
    differences = (student.float() - teacher.float()).square().mean(dim=1)  # [batch, query, key]
    return (differences if seen is None else differences.masked_fill(~seen, 0.0)).sum()


class _TiedDivergence(torch.autograd.Function):
    """The divergence, and the gradients of the student's states, table and bias, chunk by chunk in the forward pass; the backward
    pass only scales them, and works once."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor,
        states: Tensor,
        table: Tensor,
        offset: Tensor,
        temperature: float,
    ) -> Tensor:
        device = hidden.device.type
        kind = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype
        ours, theirs = weight.to(kind), table.to(kind)
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        hidden_gradient, weight_gradient, bias_gradient = (torch.zeros_like(tensor) for tensor in (hidden, weight, bias))
        for rows in chunks(hidden, weight):
            own = hidden[rows].to(kind)
            student = torch.addmm(bias.to(kind), own, ours.t()).float().div_(temperature).log_softmax(dim=1)
            teacher = torch.addmm(offset.to(kind), states[rows].to(kind), theirs.t()).float().div_(temperature).log_softmax(dim=1)
            wanted = teacher.exp()
            losses = wanted * (teacher - student)  # [chunk, vocabulary]
            gradient = student.exp_().sub_(wanted)
            total += temperature**2 * torch.sum(losses.add_(gradient))  # as in ``divergences``
            gradient.mul_(temperature)
            bias_gradient += gradient.sum(dim=0)
            gradient = gradient.to(kind)
            hidden_gradient[rows] = (gradient @ ours).to(hidden.dtype)
            weight_gradient += (gradient.t() @ own).to(weight.dtype)
        ctx.save_for_backward(hidden_gradient, weight_gradient, bias_gradient)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor | None, ...]:
        hidden_gradient, weight_gradient, bias_gradient = ctx.saved_tensors
        return hidden_gradient.mul_(outer), weight_gradient.mul_(outer), bias_gradient.mul_(outer), None, None, None, None
