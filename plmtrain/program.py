"""The one thing that the trainer trains: a program, be it a pretraining objective or a fine-tuning task.

A program turns rows into batches, builds the learner with exactly the heads that its loss uses, computes the terms of the
loss as sums, predicts, and shows what it does to text. It holds settings and no state: all that outlives a step is in the
learner, or in the carry that ``loss`` hands on.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from torch import Tensor, nn

    from plmtrain.backbones import Backbone
    from plmtrain.batch import Batch, Term
    from plmtrain.data.rows import Rows
    from plmtrain.keyed_random import Keys
    from plmtrain.settings.models.base import ModelSettings
    from plmtrain.text.vocabulary import Vocabulary

SettingsT = TypeVar("SettingsT")

Carry = Mapping[str, "Tensor"]
"""Detached tensors that go on to the next step, [streams, ...] by name; empty for most programs."""


class MakeBackbone(Protocol):
    """Builds a backbone from model settings; commands hand one to ``Program.build``."""

    def __call__(self, model: ModelSettings) -> Backbone: ...


@dataclass(frozen=True)
class Shown:
    """One row as ``plmtrain inspect`` draws it.

    Args:
        lines: by label (``original``, ``input``, ``target`` ...) the tokens of a line, each an id with its mark. Marks:
            ``plain``, ``special``, ``masked``, ``random``, ``kept``, ``target``, ``blank``.
    """

    lines: Mapping[str, Sequence[tuple[int, str]]]


@dataclass(frozen=True)
class Inspection:
    """What a program did to a batch.

    Args:
        rows: each row as it is drawn.
        rates: by name, a part and the whole that it is a part of; over batches both are summed.
        histograms: by name, how often each value occurred.
    """

    rows: Sequence[Shown]
    rates: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    histograms: Mapping[str, Mapping[int, int]] = field(default_factory=dict)


class Program(ABC, Generic[SettingsT]):
    """An objective or a task.

    Args:
        settings: the program's own settings.
        model: the settings of the model that it trains.
        vocabulary: the tokens that rows are made of.
    """

    terms: ClassVar[tuple[str, ...]]
    """The names of the loss's terms."""

    def __init__(self, settings: SettingsT, model: ModelSettings, vocabulary: Vocabulary) -> None:
        self.settings = settings
        self.model = model
        self.vocabulary = vocabulary

    @abstractmethod
    def row_length(self, sequence_length: int) -> int:
        """How many tokens of text a row takes so that the model's row is ``sequence_length`` long."""

    @abstractmethod
    def collate(self, rows: Rows, keys: Keys) -> Batch:
        """Make rows ready for the loss: on the CPU, and a function of the rows and their keys alone."""

    @abstractmethod
    def collate_for_prediction(self, rows: Rows) -> Batch:
        """Make rows ready for ``predict``: nothing is hidden or changed that the user did not hide."""

    @abstractmethod
    def build(self, make: MakeBackbone) -> nn.Module:
        """The learner: the backbone, and exactly the heads that the loss uses."""

    @abstractmethod
    def loss(self, learner: nn.Module, batch: Batch, carry: Carry) -> tuple[dict[str, Term], Carry]:
        """The terms of the loss as sums, and what goes on to the next step."""

    @abstractmethod
    def backbone_of(self, learner: nn.Module) -> Backbone:
        """The backbone that outlives pretraining."""

    @abstractmethod
    def predict(self, learner: nn.Module, batch: Batch) -> list[dict[str, Any]]:
        """A JSON-ready answer for each row, with the index of its ``sample``."""

    @abstractmethod
    def inspect(self, batch: Batch) -> Inspection:
        """What the program did to a batch; no learner is needed."""

    def token_scores(self, learner: nn.Module, batch: Batch) -> Tensor:
        """The language-model head's scores at every position, [batch, length, vocabulary].

        Raises:
            SettingsError: if the learner has no such head.
        """
        from plmtrain.errors import SettingsError

        raise SettingsError(
            "there is no language-model head here",
            f"{type(self).__name__} offers: predict",
            "load a run of a language-model objective",
        )
