"""Adagrad (Duchi et al. 2011) as TensorFlow computes it, whose sums of squared gradients need not begin at zero."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

from plmtrain.optim.adamw import AdamW
from plmtrain.settings.optimizer import OptimizerSettings


class Adagrad(AdamW):
    """Adagrad::

        s += g**2
        w -= lr * g / (sqrt(s) + eps)

    A parameter without a gradient is not changed. The caller of ``step`` sets ``lr`` of the groups.

    Args:
        groups: as for ``AdamW``, without weight decay.
        settings: rate, epsilon, and the first value of s.
    """

    STATE = ("sum",)

    def __init__(self, groups: Iterable[dict[str, Any]], settings: OptimizerSettings) -> None:
        self._initial = settings.initial_accumulator
        super().__init__(groups, settings)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group, with sums at their first value."""
        self.param_groups.append({**self.defaults, **param_group})
        for parameter in param_group["params"]:
            self.state[parameter] = {"sum": torch.full_like(parameter, self._initial, requires_grad=False)}

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if (gradient := parameter.grad) is not None:
                    total = self.state[parameter]["sum"].addcmul_(gradient, gradient)
                    parameter.addcdiv_(gradient, total.sqrt().add_(group["eps"]), value=-group["lr"])
