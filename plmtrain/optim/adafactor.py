"""Adafactor (Shazeer and Stern 2018, arXiv 1804.04235, algorithms 4 and 5) as T5 was trained with it: without momentum.

A matrix has no second moment of its own for each weight: the means of its rows and of its columns stand for it. torch's Adafactor
has another step size, and transformers' factors every matrix; given the paper it is a few lines.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from plmtrain.optim.base import StatefulOptimizer
from plmtrain.optim.shards import first_row, local, rows_of_parts, summed, whole_norms

_AT_ONCE = 32
"""The number of parameters that are updated together: sharded ones need two messages, and each one's update takes memory."""

_Joined = Sequence[tuple[nn.Parameter, int]]
"""Parameters with the number of matrices that each joins."""


class Adafactor(StatefulOptimizer):
    """For update number t of a matrix w with gradient g, with d = 1 - t**-decay_power::

        rows = d * rows + (1 - d) * mean over columns of (g**2 + eps)
        columns = d * columns + (1 - d) * mean over rows of (g**2 + eps)
        u = g / sqrt(rows / mean(rows) * columns)
        u = u / max(1, rms(u) / clip_update)
        w -= lr * (max(least_scale, rms(w)) * u + weight_decay * w)

    Vectors, and matrices with fewer than ``factor_from`` rows or columns, keep the mean of their squares whole, as in the
    authors' code. Without ``scale_by_parameter`` the factor of u is 1. A parameter that joins several matrices (queries, keys and
    values) is updated as they would be, each by itself. There is no bias correction to make, since d is 0 in the first update.

    Arguments are those of ``StatefulOptimizer``.
    """

    def new_state(self, parameter: nn.Parameter, parts: int | None) -> dict[str, Tensor]:
        parts = parts or 1
        # On the CPU, where the decay is computed from it without waiting for the device.
        step = torch.zeros((), dtype=torch.float32)
        if parameter.dim() != 2 or min(len(parameter) // parts, parameter.shape[1]) < self.settings.factor_from:
            return {"exp_avg_sq": torch.zeros_like(parameter, requires_grad=False), "step": step}
        return {
            # Whole in every process that holds rows of the parameter.
            "exp_avg_sq_row": local(parameter).new_zeros(parts, len(parameter) // parts),
            "exp_avg_sq_column": local(parameter).new_zeros(parts, parameter.shape[1]),
            "step": step,
        }

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # torch's may evaluate the loss again, this one not
        """Update every parameter that has a gradient."""
        for group in self.param_groups:
            joined = group["parts"] or [1] * len(group["params"])
            updated = [pair for pair in zip(group["params"], joined, strict=True) if pair[0].grad is not None]
            for first in range(0, len(updated), _AT_ONCE):
                self._update(updated[first : first + _AT_ONCE], group["lr"], group["weight_decay"])

    def _update(self, parameters: _Joined, lr: float, weight_decay: float) -> None:
        chosen = self.settings
        matrices = [
            (local(parameter)[rows], update[rows], math.sqrt(parameter.numel() // parts))
            for (parameter, parts), update in zip(parameters, self._divided(parameters), strict=True)
            for rows in rows_of_parts(parameter, parts)
        ]
        norms = torch.stack([torch.linalg.vector_norm(matrix) for *pair, _ in matrices for matrix in pair])
        lengths, changes = whole_norms(norms, parameters[0][0]).view(-1, 2).unbind(1)  # [matrices] each
        for (weights, update, root), length, change in zip(matrices, lengths, changes, strict=True):
            if chosen.clip_update is not None:
                update = update / (change / root / chosen.clip_update).clamp(min=1.0)
            if chosen.scale_by_parameter:
                update = update * (length / root).clamp(min=chosen.least_scale)
            if weight_decay:
                update = update + weight_decay * weights
            weights.sub_(update, alpha=lr)

    def _divided(self, parameters: _Joined) -> list[Tensor]:
        """Advance the second moments, and return the gradients divided by their roots."""
        gradients = [local(parameter.grad) for parameter, _ in parameters if parameter.grad is not None]
        squares = [gradient.square() + self.settings.eps for gradient in gradients]
        factored = ["exp_avg_sq" not in self.state[parameter] for parameter, _ in parameters]
        means = iter(_means([(*pair, square) for pair, square, both in zip(parameters, squares, factored, strict=True) if both]))
        updates = []
        for (parameter, parts), gradient, square, both in zip(parameters, gradients, squares, factored, strict=True):
            state = self.state[parameter]
            state["step"] += 1
            new = float(state["step"]) ** -self.settings.decay_power  # 1 - d
            if both:
                of_rows, of_columns = next(means)
                rows = state["exp_avg_sq_row"].lerp_(of_rows, new)
                columns = state["exp_avg_sq_column"].lerp_(of_columns, new).rsqrt()
                by_row = (rows / rows.mean(dim=1, keepdim=True)).rsqrt().flatten()[first_row(parameter) :][: len(gradient), None]
                here = zip(rows_of_parts(parameter, parts), columns, strict=True)
                updates.append(torch.cat([gradient[part] * (by_row[part] * by_column) for part, by_column in here]))
            else:
                updates.append(gradient * local(state["exp_avg_sq"]).lerp_(square, new).rsqrt())
        return updates


def _means(matrices: Sequence[tuple[nn.Parameter, int, Tensor]]) -> list[tuple[Tensor, Tensor]]:
    """Return the means of the rows and of the columns of some parameters' squared gradients, over all processes.

    Args:
        matrices: parameters, the number of matrices that each joins, and the squares of the rows that are here.

    Returns:
        [matrices, rows] and [matrices, columns] of each parameter.
    """
    shares: list[Tensor] = []
    for parameter, parts, squares in matrices:
        of_rows, first = squares.new_zeros(len(parameter)), first_row(parameter)
        of_rows[first : first + len(squares)] = squares.mean(dim=1)
        height = len(parameter) // parts
        of_columns = torch.stack([squares[rows].sum(dim=0) / height for rows in rows_of_parts(parameter, parts)])
        shares += [of_rows.view(parts, -1), of_columns]
    if not shares:
        return []
    sums = summed(torch.cat([share.flatten() for share in shares]), matrices[0][0])  # one message for all
    split = [
        part.view_as(share) for part, share in zip(torch.split(sums, [share.numel() for share in shares]), shares, strict=True)
    ]
    return list(zip(split[::2], split[1::2], strict=True))
