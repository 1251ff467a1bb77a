"""What passes between the data, the programs and the trainer: inputs, batches, and the terms of a loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Change = Callable[[Any], Any]
"""What ``map`` applies to every tensor: a move to another device, or a conversion to NumPy and back."""


def _maybe(change: Change, tensor: Tensor | None) -> Any:
    return None if tensor is None else change(tensor)


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
        """Make a layout of arrays."""
        return cls(
            tokens=None if tokens is None else torch.from_numpy(tokens),
            documents=None if documents is None else torch.from_numpy(documents),
            causal=causal,
        )

    def map(self, change: Change) -> Layout:
        """Return the layout with each of its tensors changed."""
        return replace(
            self,
            tokens=_maybe(change, self.tokens),
            documents=_maybe(change, self.documents),
            ranks=_maybe(change, self.ranks),
            visible=_maybe(change, self.visible),
        )


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What a backbone reads.

    Args:
        ids: [batch, length] token ids.
        layout: who may see whom.
        segments: [batch, length] segment ids, or numbers of languages; None for the first segment throughout, or no language.
        positions: [batch, length] positions counted from 0; None for their order in the row.
        decoder: what the decoder reads, where there is one beside the encoder.
    """

    ids: Tensor
    layout: Layout = Layout()
    segments: Tensor | None = None
    positions: Tensor | None = None
    decoder: Inputs | None = None

    def map(self, change: Change) -> Inputs:
        """Return the inputs with each of their tensors changed."""
        return Inputs(
            ids=change(self.ids),
            layout=self.layout.map(change),
            segments=_maybe(change, self.segments),
            positions=_maybe(change, self.positions),
            decoder=None if self.decoder is None else self.decoder.map(change),
        )


def shift_right(ids: Tensor, start: int) -> Tensor:
    """Return what a decoder reads while it writes rows: the start token, and each row without its last token.

    Args:
        ids: [batch, length] what is written.
        start: the id of the start token.
    """
    return torch.cat([torch.full_like(ids[:, :1], start), ids[:, :-1]], dim=1)


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Rows made ready for a loss, with every random number that the loss will need.

    Args:
        inputs: what the backbone reads.
        targets: where the loss predicts, and what it compares with, by name.
        samples: [batch] the index of each sample in the data.
        normalisers: for each term of the loss, how much it counts: the number that its sum is divided by.
        draws: random numbers that the loss needs, by name.
        fresh: [batch] whether a row begins its stream anew, so that nothing carried reaches it; None where rows stand alone.
    """

    inputs: Inputs
    targets: Mapping[str, Tensor]
    samples: Tensor
    normalisers: Mapping[str, float]
    draws: Mapping[str, Tensor] = field(default_factory=dict)
    fresh: Tensor | None = None

    @property
    def layout(self) -> Layout:
        """Who may see whom in the inputs."""
        return self.inputs.layout

    def map(self, change: Change) -> Batch:
        """Return the batch with each of its tensors changed. Only here, and in the parts that it calls, are they listed."""
        return Batch(
            inputs=self.inputs.map(change),
            targets={name: change(tensor) for name, tensor in self.targets.items()},
            samples=change(self.samples),
            normalisers=self.normalisers,
            draws={name: change(tensor) for name, tensor in self.draws.items()},
            fresh=_maybe(change, self.fresh),
        )

    def to(self, device: torch.device) -> Batch:
        """Return the batch on a device; from page-locked memory the copies run beside the computation."""
        return self.map(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> Batch:
        """Return the batch in page-locked memory (called by torch's DataLoader)."""
        return self.map(lambda tensor: tensor.pin_memory())


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
