"""The base of all optimisers: groups of parameters, with a state for each parameter from the beginning."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from plmtrain.settings.optimizer import OptimizerSettings


class StatefulOptimizer(torch.optim.Optimizer):
    """An optimiser whose state exists before its first step, so that it can be saved and restored at any step.

    Args:
        groups: each with its ``params``, its ``weight_decay`` and its ``share`` of the learning rate; no parameter twice.
            ``parts`` lists how many matrices each of its parameters joins, one below the other, or is None where that does not
            matter.
        settings: the optimiser's settings.
        products: the type of an update's matrix products, where it has any.
    """

    def __init__(
        self, groups: Iterable[dict[str, Any]], settings: OptimizerSettings, products: torch.dtype = torch.float32
    ) -> None:
        self.settings = settings
        self.products = products
        super().__init__(groups, {"lr": settings.lr})

    @abstractmethod
    def new_state(self, parameter: nn.Parameter, parts: int | None) -> dict[str, Tensor]:
        """Return the state of a parameter before its first update, by name.

        Args:
            parameter: on its device.
            parts: how many matrices it joins, as its group says.
        """

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group.

        This and ``zero_grad`` replace torch's own methods because those import its compiler: two seconds of every start.
        """
        self.param_groups.append({**self.defaults, **param_group})
        parts = param_group["parts"] or [None] * len(param_group["params"])
        for parameter, joined in zip(param_group["params"], parts, strict=True):
            self.state[parameter] = self.new_state(parameter, joined)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop all gradients, or make them zero."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if set_to_none:
                    parameter.grad = None
                elif parameter.grad is not None:
                    parameter.grad.zero_()
