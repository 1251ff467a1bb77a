"""LAMB (You et al. 2020, arXiv 1904.00962, algorithm 2), ALBERT's optimiser.

Neither torch nor any other library used here has it, and the libraries that do bring many dependencies; given Adam's moments it
is a few lines.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from plmtrain.optim.adamw import AdamW
from plmtrain.optim.shards import local, locals_of, rows_of_parts, whole_norms


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
            updates = self._updates([parameter for parameter, _ in updated])
            weights = locals_of(parameter for parameter, _ in updated)
            if group["weight_decay"]:
                torch._foreach_add_(updates, weights, alpha=group["weight_decay"])
            if group["parts"] is not None:
                _scale(updates, updated)
            torch._foreach_add_(weights, updates, alpha=-group["lr"])

    def _updates(self, parameters: list[nn.Parameter]) -> list[Tensor]:
        """Advance Adam's moments by one step and return its updates."""
        betas, eps = self.settings.betas, self.settings.eps
        gradients = [local(parameter.grad) for parameter in parameters if parameter.grad is not None]
        first, second, steps = (locals_of(self.state[parameter][name] for parameter in parameters) for name in self.STATE)
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


def _scale(updates: list[Tensor], parameters: list[tuple[nn.Parameter, int]]) -> None:
    """Scale the update of each matrix by the norm of its weights relative to that of the update itself.

    Args:
        updates: of the rows of each parameter that are here.
        parameters: the parameters, with the number of matrices that each one joins.
    """
    matrices = [
        (local(parameter)[rows], update[rows])
        for (parameter, joined), update in zip(parameters, updates, strict=True)
        for rows in rows_of_parts(parameter, joined)
    ]
    norms = torch.stack([torch.linalg.vector_norm(matrix) for pair in matrices for matrix in pair])
    lengths, changes = whole_norms(norms, parameters[0][0]).view(-1, 2).unbind(1)  # [matrices] each
    ratios = torch.where((lengths > 0) & (changes > 0), lengths / changes, 1.0)
    torch._foreach_mul_([update for _, update in matrices], list(ratios.unbind()))
