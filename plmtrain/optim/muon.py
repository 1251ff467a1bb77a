"""Muon (Jordan et al. 2024, kellerjordan.github.io/posts/muon) for hidden matrices, with AdamW for all other parameters.

``torch.optim.Muon`` refuses parameters that are not matrices, computes in bf16 whatever the run's precision is, which is slow on
processors without its instructions, and takes one matrix after the other; this one takes all matrices of one shape at once.
"""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Any

import torch
from torch import Tensor, nn

from plmtrain.nn.bf16_products import products_of
from plmtrain.optim.adamw import AdamW

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the odd polynomial of degree 5 that brings singular values near 1, steepest at 0 (Jordan et al. 2024)."""

ITERATIONS = 5
"""How often it is applied."""

RATE_SCALE = 0.2
"""The root mean square of an update, which is that of AdamW's, so that its learning rates can be kept (Liu et al. 2025, arXiv
2502.16982, section 2.2)."""


class Muon(AdamW):
    """Gradient descent with momentum whose update of each hidden matrix [m, n] is made nearly orthogonal::

        b = momentum * b + (1 - momentum) * g
        u = orthogonalise(momentum * b + (1 - momentum) * g)
        w -= lr * weight_decay * w
        w -= lr * 0.2 * sqrt(max(m, n)) * u

    Embeddings, the output layer, norms, biases and heads are updated as by ``AdamW``. A parameter that joins several matrices
    (queries, keys and values) is updated as they would be, each by itself.

    Arguments are those of ``StatefulOptimizer``; a group with ``parts`` has the hidden matrices, whose updates take products of
    the type ``products``, bf16 in the authors' code.
    """

    MOMENTUM = "momentum"
    """The state of each hidden matrix: the running mean of its gradients."""

    def new_state(self, parameter: nn.Parameter, parts: int | None) -> dict[str, Tensor]:
        if parts is None:
            return super().new_state(parameter, parts)
        return {self.MOMENTUM: torch.zeros_like(parameter, requires_grad=False)}

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # torch's may evaluate the loss again, this one not
        """Update every parameter that has a gradient."""
        for group in self.param_groups:
            if group["parts"] is None:
                self.update(group)
            else:
                self._update_matrices(group)

    def _update_matrices(self, group: dict[str, Any]) -> None:
        parameters, joined, lr, decay = (group[key] for key in ("params", "parts", "lr", "weight_decay"))
        by_shape: dict[tuple[int, int], list[tuple[Tensor, Tensor]]] = defaultdict(list)
        for parameter, parts in zip(parameters, joined, strict=True):
            if (gradient := parameter.grad) is None:
                continue
            mean = self.state[parameter][self.MOMENTUM].lerp_(gradient, 1 - self.settings.momentum)
            ahead = gradient.lerp(mean, self.settings.momentum)  # Nesterov's
            matrices = zip(parameter.chunk(parts), ahead.chunk(parts), strict=True)
            by_shape[len(parameter) // parts, parameter.shape[1]].extend(matrices)
        for shape, pairs in by_shape.items():
            weights, updates = zip(*pairs, strict=True)
            scale = RATE_SCALE * math.sqrt(max(shape))
            torch._foreach_mul_(weights, 1 - lr * decay)
            torch._foreach_add_(weights, list(orthogonalise(torch.stack(updates), self.products)), alpha=-lr * scale)


def orthogonalise(matrices: Tensor, products: torch.dtype = torch.float32) -> Tensor:
    """Return U f(S) V' for each matrix U S V', where f brings singular values to between 0.7 and 1.2 if they are not tiny beside
    the others.  # [matrices, m, n], the same

    The polynomial a s + b s**3 + c s**5 is applied to the singular values of the matrix divided by its norm, by matrix products
    alone (Newton-Schulz). A matrix of zeros stays what it is.

    Args:
        matrices: in fp32.
        products: the type that the products are computed in.
    """
    tall = matrices.shape[1] > matrices.shape[2]
    wide = matrices.mT if tall else matrices
    wide = (wide / torch.linalg.matrix_norm(wide, keepdim=True).clamp(min=1e-7)).to(products)
    linear, cubic, quintic = COEFFICIENTS
    with products_of(matrices.device):
        for _ in range(ITERATIONS):
            gram = wide @ wide.mT  # [matrices, m, m], the shorter side
            wide = torch.baddbmm(wide, torch.baddbmm(gram, gram, gram, beta=cubic, alpha=quintic), wide, beta=linear)
    return (wide.mT if tall else wide).to(matrices.dtype)
