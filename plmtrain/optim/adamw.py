"""AdamW in one fused kernel, in both forms of the optimiser: AdamW (Loshchilov and Hutter 2019, algorithm 2), and the one in the
code of BERT and ELECTRA, which omits the bias correction.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import torch

from plmtrain.settings.optimizer import OptimizerSettings


class AdamW(torch.optim.Optimizer):
    """Adam with decoupled weight decay, in the fused kernel that ``torch.optim.AdamW(fused=True)`` uses.

    With bias correction, for a parameter's update number t::

        w -= lr * weight_decay * w
        w -= lr * (m / (1 - beta1**t)) / (sqrt(v / (1 - beta2**t)) + eps)

    Without it the two corrections are 1. Epsilon is outside the root in both. A parameter without a gradient is not changed, nor
    is its count. The caller of ``step`` sets ``lr`` of the groups.

    Args:
        groups: each with its ``params`` and its ``weight_decay``; no parameter twice. ``parts`` are for LAMB.
        settings: rate, betas, and whether the moments are bias-corrected.
    """

    STATE: ClassVar[tuple[str, ...]] = ("exp_avg", "exp_avg_sq", "step")
    """The state of each parameter: the two moments, and the number of its updates."""

    def __init__(self, groups: Iterable[dict[str, Any]], settings: OptimizerSettings) -> None:
        super().__init__(groups, {"lr": settings.lr, "betas": settings.betas, "eps": settings.eps})
        self.bias_correction = settings.bias_correction

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group, with moments of zero.

        This and ``zero_grad`` replace torch's own methods because those import its compiler: two seconds of every start.
        """
        self.param_groups.append({**self.defaults, **param_group})
        for parameter in param_group["params"]:
            self.state[parameter] = {
                "exp_avg": torch.zeros_like(parameter, requires_grad=False),
                "exp_avg_sq": torch.zeros_like(parameter, requires_grad=False),
                "step": torch.zeros((), dtype=torch.float32, device=parameter.device),
            }

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop all gradients, or make them zero."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if set_to_none:
                    parameter.grad = None
                elif parameter.grad is not None:
                    parameter.grad.zero_()

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # torch's may evaluate the loss again, this one not
        """Update every parameter that has a gradient."""
        for group in self.param_groups:
            parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
            if not parameters:
                continue
            first, second, steps = ([self.state[parameter][name] for parameter in parameters] for name in self.STATE)
            torch._foreach_add_(steps, 1)
            if not self.bias_correction:
                # The kernel corrects by 1 - beta**t, which is 1 at infinitely many steps: no correction.
                steps = [torch.full_like(steps[0], torch.inf)] * len(steps)
            torch._fused_adamw_(
                parameters,
                [parameter.grad for parameter in parameters],
                first,
                second,
                [],
                steps,
                lr=group["lr"],
                beta1=group["betas"][0],
                beta2=group["betas"][1],
                weight_decay=group["weight_decay"],
                eps=group["eps"],
                amsgrad=False,
                maximize=False,
            )
