"""The moving average of a run's weights: smoother than the weights of any one step (Polyak and Juditsky 1992).

It is validated, and is the run's result; training goes on from the weights themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from plmtrain.optim.shards import local, locals_of, put


class WeightAverage:
    """An exponential moving average of the trained weights of a learner.

    Args:
        learner: frozen as requested, on its device, sharded if it will be.
        decay: the share of the average that a step keeps, once the run is old enough.
    """

    def __init__(self, learner: nn.Module, decay: float) -> None:
        self._decay = decay
        self._weights = {name: weight for name, weight in learner.named_parameters() if weight.requires_grad}
        self._average = {name: weight.detach().clone() for name, weight in self._weights.items()}

    def tensors(self) -> Mapping[str, Tensor]:
        """Return the average of each weight."""
        return self._average

    @torch.no_grad()
    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take an average that was saved; without one, it begins with the weights as they are now."""
        for name, average in self._average.items():
            put(average, tensors.get(name, self._weights[name]))

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after a step. Early steps keep less, so that the first weights are soon forgotten: (1 + n)/(10 + n)
        of the average after n steps, as in TensorFlow's ``ExponentialMovingAverage``.

        Args:
            step: the number of steps taken.
        """
        kept = min(self._decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(locals_of(self._average.values()), locals_of(self._weights.values()), 1 - kept)

    @torch.no_grad()
    def exchange(self) -> None:
        """Exchange the learner's weights for their average, and back; both stay where they are in memory."""
        for name, weight in self._weights.items():
            kept = local(weight).clone()
            put(weight, self._average[name])
            local(self._average[name]).copy_(kept)

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Return a context in which the learner has the average weights."""
        self.exchange()
        try:
            yield
        finally:
            self.exchange()
