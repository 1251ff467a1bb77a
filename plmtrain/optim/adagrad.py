"""Adagrad (Duchi et al. 2011) as TensorFlow computes it, whose sums of squared gradients need not begin at zero."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from plmtrain.optim.base import StatefulOptimizer
from plmtrain.optim.shards import local


class Adagrad(StatefulOptimizer):
    """Adagrad::

        s += g**2
        w -= lr * weight_decay * w
        w -= lr * g / (sqrt(s) + eps)

    A parameter without a gradient is not changed. The caller of ``step`` sets ``lr`` of the groups. Arguments are those of
    ``StatefulOptimizer``.
    """

    def new_state(self, parameter: nn.Parameter, parts: int | None) -> dict[str, Tensor]:
        return {"sum": torch.full_like(parameter, self.settings.initial_accumulator, requires_grad=False)}

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # torch's may evaluate the loss again, this one not
        """Update every parameter that has a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    weights, gradient = local(parameter), local(parameter.grad)
                    weights.mul_(1 - group["lr"] * group["weight_decay"])
                    total = local(self.state[parameter]["sum"]).addcmul_(gradient, gradient)
                    weights.addcdiv_(gradient, total.sqrt().add_(self.settings.eps), value=-group["lr"])
