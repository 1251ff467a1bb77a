"""LAMB (You et al. 2020, arXiv 1904.00962, algorithm 2), ALBERT's optimiser.

Neither torch nor any other library used here has it, and the libraries that do bring many dependencies; given Adam's moments it
is a few lines.
"""

from __future__ import annotations

import torch
from torch import Tensor

from plmtrain.optim.adamw import STATE, AdamW


class Lamb(AdamW):
    """Adam whose update of each matrix has the norm of the matrix itself, times the rate::

        u = (m / (1 - beta1**t)) / (sqrt(v / (1 - beta2**t)) + eps) + weight_decay * w
        w -= lr * |w| / |u| * u

    Without bias correction, as in ALBERT's code, the two corrections are 1. Where |w| or |u| is 0 their ratio counts as 1. Biases
    and norms, which do not decay, are updated with a ratio of 1, as in that code. A matrix that several layers share is one
    matrix. A parameter that joins several matrices (queries, keys and values) has a ratio for each, as in code that keeps them
    apart.

    Arguments and state are those of ``AdamW``; ``parts`` of a group lists how many matrices each of its parameters joins, one
    below the other, or is None where there is no ratio.
    """

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # torch's may evaluate the loss again, this one not
        """Update every parameter that has a gradient."""
        for group in self.param_groups:
            parts = group["parts"] or [None] * len(group["params"])
            updated = [pair for pair in zip(group["params"], parts, strict=True) if pair[0].grad is not None]
            if not updated:
                continue
            parameters = [parameter for parameter, _ in updated]
            updates = self._updates(parameters)
            if group["weight_decay"]:
                torch._foreach_add_(updates, parameters, alpha=group["weight_decay"])
            for (parameter, joined), update in zip(updated, updates, strict=True):
                if joined is not None:
                    update.view(joined, -1).mul_(_ratio(parameter.view(joined, -1), update.view(joined, -1))[:, None])
            torch._foreach_add_(parameters, updates, alpha=-group["lr"])

    def _updates(self, parameters: list[Tensor]) -> list[Tensor]:
        """Advance Adam's moments by one step and return its updates."""
        betas, eps = self.settings.betas, self.settings.eps
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        first, second, steps = ([self.state[parameter][name] for parameter in parameters] for name in STATE)
        torch._foreach_add_(steps, 1)
        torch._foreach_lerp_(first, gradients, 1 - betas[0])
        torch._foreach_mul_(second, betas[1])
        torch._foreach_addcmul_(second, gradients, gradients, 1 - betas[1])
        numerators: list[Tensor] = first
        if self.settings.bias_correction:
            first_left, second_left = ([1 - beta**step for step in steps] for beta in betas)
            numerators = list(torch._foreach_div(first, first_left))
            second = list(torch._foreach_div(second, second_left))
        denominators = list(torch._foreach_sqrt(second))
        torch._foreach_add_(denominators, eps)
        return list(torch._foreach_div(numerators, denominators))


def _ratio(weights: Tensor, updates: Tensor) -> Tensor:
    """Return the norm of each row of weights relative to that of its update.  # [rows, n] twice -> [rows]"""
    lengths = torch.linalg.vector_norm(weights, dim=1), torch.linalg.vector_norm(updates, dim=1)
    ratio = lengths[0] / lengths[1]
    return torch.where((lengths[0] > 0) & (lengths[1] > 0), ratio, torch.ones_like(ratio))
