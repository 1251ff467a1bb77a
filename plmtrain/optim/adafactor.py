"""Adafactor (Shazeer and Stern 2018, arXiv 1804.04235, algorithms 4 and 5) as T5 was trained with it: without momentum.

A matrix has no second moment of its own for each weight: the means of its rows and of its columns stand for it. torch's Adafactor
has another step size, and transformers' factors every matrix; given the paper it is a few lines.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from plmtrain.optim.base import StatefulOptimizer


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
            "exp_avg_sq_row": parameter.new_zeros(parts, len(parameter) // parts, requires_grad=False),
            "exp_avg_sq_column": parameter.new_zeros(parts, parameter.shape[1], requires_grad=False),
            "step": step,
        }

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # torch's may evaluate the loss again, this one not
        """Update every parameter that has a gradient."""
        for group in self.param_groups:
            joined = group["parts"] or [1] * len(group["params"])
            for parameter, parts in zip(group["params"], joined, strict=True):
                if parameter.grad is not None:
                    self._update(parameter, parts, group["lr"], group["weight_decay"])

    def _update(self, parameter: nn.Parameter, parts: int, lr: float, weight_decay: float) -> None:
        assert parameter.grad is not None
        chosen = self.settings
        update = self._divided(parameter.grad, parts, self.state[parameter]).view(parts, -1)
        if chosen.clip_update is not None:
            update = update / (_rms(update) / chosen.clip_update).clamp(min=1.0)
        weights = parameter.view(parts, -1)
        if chosen.scale_by_parameter:
            update = update * _rms(weights).clamp(min=chosen.least_scale)
        if weight_decay:
            update = update + weight_decay * weights
        weights.sub_(update, alpha=lr)

    def _divided(self, gradient: Tensor, parts: int, state: dict[str, Tensor]) -> Tensor:
        """Advance the second moment, and return the gradient divided by its root."""
        state["step"] += 1
        new = float(state["step"]) ** -self.settings.decay_power  # 1 - d
        squares = gradient.square() + self.settings.eps
        if "exp_avg_sq" in state:
            return gradient * state["exp_avg_sq"].lerp_(squares, new).rsqrt()
        squares, matrices = (each.view(parts, -1, each.shape[1]) for each in (squares, gradient))  # each [parts, rows, columns]
        rows = state["exp_avg_sq_row"].lerp_(squares.mean(dim=2), new)
        columns = state["exp_avg_sq_column"].lerp_(squares.mean(dim=1), new)
        divisor = (rows / rows.mean(dim=1, keepdim=True)).rsqrt()[:, :, None] * columns.rsqrt()[:, None]
        return matrices * divisor


def _rms(matrices: Tensor) -> Tensor:
    """Return the root of the mean square of each row.  # [parts, weights] -> [parts, 1]"""
    norms: Tensor = torch.linalg.vector_norm(matrices, dim=1, keepdim=True)
    return norms / math.sqrt(matrices.shape[1])
