"""What passes between the data, the programs and the trainer: a batch, who may see whom in it, and the terms of a loss."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Who may see whom. Every attention kernel reads it; none reads anything else.

    Args:
        tokens: [batch, length] bool, true at real tokens; None where no row is padded.
        documents: [batch, length] int, positions see only their own document; None where a row is one.
        causal: whether a position sees nothing to its right.
        ranks: [batch, length] int, the place of each position in the order in which a row is predicted: a position sees only
            those whose rank is not greater than its own.
        visible: [batch, length, length] bool, an extra rule: whether a query (second axis) may see a key (third axis).
    """

    tokens: Tensor | None = None
    documents: Tensor | None = None
    causal: bool = False
    ranks: Tensor | None = None
    visible: Tensor | None = None

    @classmethod
    def of(
        cls, tokens: NDArray[np.bool_] | None = None, documents: NDArray[np.int64] | None = None, *, causal: bool = False
    ) -> Layout:
        """A layout of arrays."""
        return cls(
            tokens=None if tokens is None else torch.from_numpy(tokens),
            documents=None if documents is None else torch.from_numpy(documents),
            causal=causal,
        )


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Rows made ready for a loss, with every random number that the loss will need.

    Args:
        inputs: what the learner reads, by name.
        targets: what the loss compares with, by name.
        layout: who may see whom.
        samples: [batch] the index of each sample in the data.
        draws: random numbers that the loss needs, by name.
        normalisers: for each term of the loss, how much it counts: the number that its sum is divided by.
    """

    inputs: Mapping[str, Tensor]
    targets: Mapping[str, Tensor]
    layout: Layout
    samples: Tensor
    normalisers: Mapping[str, float]
    draws: Mapping[str, Tensor] = field(default_factory=dict)

    def to(self, device: torch.device) -> Batch:
        """The same batch on a device; from pinned memory the copies run beside the computation."""

        def move(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else tensor.to(device, non_blocking=True)

        def move_all(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
            return {name: tensor.to(device, non_blocking=True) for name, tensor in tensors.items()}

        return replace(
            self,
            inputs=move_all(self.inputs),
            targets=move_all(self.targets),
            draws=move_all(self.draws),
            layout=replace(
                self.layout,
                tokens=move(self.layout.tokens),
                documents=move(self.layout.documents),
                ranks=move(self.layout.ranks),
                visible=move(self.layout.visible),
            ),
        )

    def pin_memory(self) -> Batch:
        """The same batch in page-locked memory (called by torch's DataLoader)."""

        def pin_all(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
            return {name: tensor.pin_memory() for name, tensor in tensors.items()}

        return replace(self, inputs=pin_all(self.inputs), targets=pin_all(self.targets), draws=pin_all(self.draws))


@dataclass(frozen=True, kw_only=True)
class Term:
    """One term of a loss, as a sum, so that it can be divided by its normaliser over all micro-batches and processes.

    Args:
        total: the sum of the losses, a scalar attached to the graph.
        normaliser: what the sum counts, from ``Batch.normalisers``.
        weight: the term's weight in the whole loss.
        counts: further sums over the same targets (say, of correct predictions), reported divided by the same normaliser;
            those of several numbers (say, a histogram) go to ``Program.measures`` instead.
    """

    total: Tensor
    normaliser: float
    weight: float = 1.0
    counts: Mapping[str, Tensor] = field(default_factory=dict)
