"""AdamW in one fused kernel, in both forms of the optimiser: AdamW (Loshchilov and Hutter 2019, algorithm 2), and the one in the
code of BERT and ELECTRA, which omits the bias correction.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from plmtrain.optim.base import StatefulOptimizer
from plmtrain.optim.shards import local, locals_of


class AdamW(StatefulOptimizer):
    """Adam with decoupled weight decay, in the fused kernel that ``torch.optim.AdamW(fused=True)`` uses.

    With bias correction, for a parameter's update number t::

        w -= lr * weight_decay * w
        w -= lr * (m / (1 - beta1**t)) / (sqrt(v / (1 - beta2**t)) + eps)

    Without it the two corrections are 1. Epsilon is outside the root in both. The code of GPT-1, XLM and fairseq adds it before
    the second correction, where it weighs (1 - beta2**t)**-0.5 as much: 32 times at the first update with beta2 = 0.999, 1.26
    times at the thousandth. GPT-1's corrects the decay like the update. A parameter without a gradient is not changed, nor
    is its count. The caller of ``step`` sets ``lr`` of the groups.

    Arguments are those of ``StatefulOptimizer``; ``parts`` are for LAMB and Muon.
    """

    STATE: ClassVar[tuple[str, ...]] = ("exp_avg", "exp_avg_sq", "step")
    """The state of each parameter: the two moments, and the number of its updates."""

    def new_state(self, parameter: nn.Parameter, parts: int | None) -> dict[str, Tensor]:
        moments = {name: torch.zeros_like(parameter, requires_grad=False) for name in self.STATE[:2]}
        return {**moments, self.STATE[2]: torch.zeros((), dtype=torch.float32, device=parameter.device)}

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # torch's may evaluate the loss again, this one not
        """Update every parameter that has a gradient."""
        for group in self.param_groups:
            self.update(group)

    def update(self, group: dict[str, Any]) -> None:
        """Update the parameters of a group that have a gradient."""
        parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
        if not parameters:
            return
        first, second, steps = (locals_of(self.state[parameter][name] for parameter in parameters) for name in self.STATE)
        torch._foreach_add_(steps, 1)
        if not self.settings.bias_correction:
            # The kernel corrects by 1 - beta**t, which is 1 at infinitely many steps: no correction.
            steps = [torch.full_like(steps[0], torch.inf)] * len(steps)
        torch._fused_adamw_(
            locals_of(parameters),
            [local(parameter.grad) for parameter in parameters],
            first,
            second,
            [],
            steps,
            lr=group["lr"],
            beta1=self.settings.betas[0],
            beta2=self.settings.betas[1],
            weight_decay=group["weight_decay"],
            eps=self.settings.eps,
            amsgrad=False,
            maximize=False,
        )
