"""Types that the data, the programs and the trainer exchange: inputs, batches, and the terms of a loss."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from operator import itemgetter
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Change = Callable[[Any], Any]
"""The function that ``map`` applies to every tensor, such as a move to another device or a conversion to NumPy and back."""
READ_AT_ONCE = 64
"""The rows that are read at a time where one question may have any number of them: a book has thousands of windows."""


def _maybe(change: Change, tensor: Tensor | None) -> Any:
    return None if tensor is None else change(tensor)


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The rules of attention: which positions may see which. Attention kernels read these rules and nothing else.

    Args:
        tokens: [batch, length] bool, true at real tokens; None if no row is padded.
        documents: [batch, length] int, a position sees only positions of its own document; None if a row is one document.
        causal: whether a position sees only itself and the positions to its left.
        window: of a causal layout, the number of positions that one sees at most, itself included; None for no such limit.
        ranks: [batch, length] int, the rank of each position in the order of prediction: a position sees only positions whose
            rank is not greater than its own.
        prefixes: of a causal layout, [batch] int, the number of first positions that all positions see, so that they see each
            other.
        visible: [batch, length, length] bool, an additional rule: whether a query (second axis) may see a key (third axis).
    """

    tokens: Tensor | None = None
    documents: Tensor | None = None
    causal: bool = False
    window: int | None = None
    ranks: Tensor | None = None
    prefixes: Tensor | None = None
    visible: Tensor | None = None

    @classmethod
    def of(
        cls, tokens: NDArray[np.bool_] | None = None, documents: NDArray[np.int64] | None = None, *, causal: bool = False
    ) -> Layout:
        """Make a layout from NumPy arrays."""
        return cls(
            tokens=None if tokens is None else torch.from_numpy(tokens),
            documents=None if documents is None else torch.from_numpy(documents),
            causal=causal,
        )

    def map(self, change: Change) -> Layout:
        """Return the layout with ``change`` applied to each tensor."""
        return replace(
            self,
            tokens=_maybe(change, self.tokens),
            documents=_maybe(change, self.documents),
            ranks=_maybe(change, self.ranks),
            prefixes=_maybe(change, self.prefixes),
            visible=_maybe(change, self.visible),
        )


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """The inputs of a backbone.

    Args:
        ids: [batch, length] token ids.
        layout: which positions may see which.
        segments: [batch, length] segment ids, language ids, or, for a decoder, token ids; None for the first segment everywhere,
            or no language.
        positions: [batch, length] positions from 0; None to count them along the row.
        decoder: the inputs of the decoder, for an encoder-decoder.
        spellings: [words, characters] the different words of the batch as characters (``plmtrain.text.spelling``), for a model
            that reads these; None for one that reads token ids.
        spelling_rows: [batch, length] for each token its row of ``spellings``.
    """

    ids: Tensor
    layout: Layout = Layout()
    segments: Tensor | None = None
    positions: Tensor | None = None
    decoder: Inputs | None = None
    spellings: Tensor | None = None
    spelling_rows: Tensor | None = None

    def map(self, change: Change) -> Inputs:
        """Return the inputs with ``change`` applied to each tensor."""
        return Inputs(
            ids=change(self.ids),
            layout=self.layout.map(change),
            segments=_maybe(change, self.segments),
            positions=_maybe(change, self.positions),
            decoder=None if self.decoder is None else self.decoder.map(change),
            spellings=_maybe(change, self.spellings),
            spelling_rows=_maybe(change, self.spelling_rows),
        )

    def in_parts(self) -> Iterator[tuple[int, Inputs]]:
        """Yield the inputs of ``READ_AT_ONCE`` rows at a time, each time with the number of the first one."""
        for first in range(0, len(self.ids), READ_AT_ONCE):
            own = self.map(itemgetter(slice(first, first + READ_AT_ONCE)))
            yield first, replace(own, spellings=self.spellings)


def shift_right(ids: Tensor, start: int | Tensor) -> Tensor:
    """Return a decoder's inputs for teacher forcing: the start token, then each row without its last token.

    Args:
        ids: [batch, length] the token ids that the decoder predicts.
        start: the id of the start token, one for all rows or [batch].
    """
    first = start[:, None] if isinstance(start, Tensor) else torch.full_like(ids[:, :1], start)
    return torch.cat([first, ids[:, :-1]], dim=1)


@dataclass(frozen=True, kw_only=True)
class Batch:
    """A batch of rows prepared for a loss, with every random number that the loss needs.

    Args:
        inputs: the backbone's inputs.
        targets: positions and labels of the predictions, by name.
        samples: [batch] the index of each sample in the data.
        normalisers: for each term of the loss, the number of its targets, by which its sum is divided.
        draws: the random numbers that the loss needs, by name.
        fresh: [batch] whether a row starts a new stream, so that it must ignore the carry; None if rows are independent.
        lessons: the outputs of a teacher for these inputs that the loss needs, by name; empty before the teacher has read them.
    """

    inputs: Inputs
    targets: Mapping[str, Tensor]
    samples: Tensor
    normalisers: Mapping[str, float]
    draws: Mapping[str, Tensor] = field(default_factory=dict)
    fresh: Tensor | None = None
    lessons: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def layout(self) -> Layout:
        """Which positions may see which in the inputs."""
        return self.inputs.layout

    def map(self, change: Change) -> Batch:
        """Return the batch with ``change`` applied to each tensor. Only the ``map`` methods list the tensor fields."""
        return Batch(
            inputs=self.inputs.map(change),
            targets={name: change(tensor) for name, tensor in self.targets.items()},
            samples=change(self.samples),
            normalisers=self.normalisers,
            draws={name: change(tensor) for name, tensor in self.draws.items()},
            fresh=_maybe(change, self.fresh),
            lessons={name: change(tensor) for name, tensor in self.lessons.items()},
        )

    def to(self, device: torch.device) -> Batch:
        """Return the batch on a device; copies from page-locked memory run in parallel with the computation."""
        return self.map(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> Batch:
        """Return the batch in page-locked memory (called by torch's DataLoader)."""
        return self.map(lambda tensor: tensor.pin_memory())


class Term(NamedTuple):
    """One term of a loss, as a sum: it is divided by its normaliser over all micro-batches and processes.

    A tuple, so that those who wrap the loss for several processes find its tensors.

    Args:
        total: the sum of the losses, a scalar attached to the graph.
        normaliser: the number of targets in the sum, from ``Batch.normalisers``.
        weight: the term's weight in the whole loss.
        counts: further sums over the same targets. A scalar (e.g. the number of correct predictions) is reported divided by the
            same normaliser; an array (e.g. a histogram) goes to ``Program.measures`` instead.
    """

    total: Tensor
    normaliser: float
    weight: float = 1.0
    counts: Mapping[str, Tensor] = MappingProxyType({})
