"""What the trainer trains: a program, be it a pretraining objective or a fine-tuning task.

A program turns rows into batches, builds the learner with exactly the heads that its loss uses, computes the terms of the
loss as sums, and shows what it does to text. It holds settings and no state: all that outlives a step is in the learner, or
in the carry that ``loss`` returns. How its learner is used afterwards is in ``plmtrain.programs.answering``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, Protocol, Self, TypeVar

from plmtrain.programs.parts import Parts
from plmtrain.settings.models.base import ModelSettings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from plmtrain.backbones import Backbone
    from plmtrain.batch import Batch, Term
    from plmtrain.data.rows.rows import Rows
    from plmtrain.keyed_random import Keys
    from plmtrain.programs.answering import Answering
    from plmtrain.programs.inspection import Inspection
    from plmtrain.programs.learner import Learner
    from plmtrain.text.vocabulary import Vocabulary

SettingsT = TypeVar("SettingsT")
ModelT = TypeVar("ModelT", bound=ModelSettings)
LearnerT = TypeVar("LearnerT", bound="Learner")

Carry = Mapping[str, "Tensor"]
"""Detached tensors that go on to the next step, [streams, ...] by name; empty for most programs."""


class MakeBackbone(Protocol):
    """Builds a backbone from model settings; ``build`` is given one."""

    def __call__(self, model: ModelSettings) -> Backbone: ...


@dataclass(frozen=True)
class Selection:
    """Which checkpoint of a run is its best.

    Args:
        measure: one of those that a validation gives.
        higher: whether more of it is better.
        decides: whether the run's result is its best checkpoint rather than its last one.
    """

    measure: str = "loss"
    higher: bool = False
    decides: bool = False


@dataclass(frozen=True)
class Baseline:
    """What a validation loss is compared with: the loss of a model that knows only how frequent each token is.

    Args:
        measure: the loss, one of the measures of a validation.
        reference: the measure that has the unigram loss of the same tokens.
        of: which tokens these are, in words.
    """

    measure: str
    reference: str
    of: str

    def compare(self, measured: Mapping[str, float]) -> str:
        """Say how a validation compares with the baseline; empty where it measured nothing of both.

        Args:
            measured: by the names of measures.
        """
        if (difference := self.difference(measured)) is None:
            return ""
        loss, reference = measured[self.measure], measured[self.reference]
        return f"{self.of} {loss:.3f} nats each, {_side(difference)} their unigram loss {reference:.3f}"

    def brief(self, measured: Mapping[str, float]) -> str:
        """Say the same in a few words."""
        difference = self.difference(measured)
        return "" if difference is None else f"{self.of} {_side(difference)} unigram"

    def difference(self, measured: Mapping[str, float]) -> float | None:
        """Return the loss minus that of the baseline; None where a validation did not measure both."""
        if self.measure not in measured or self.reference not in measured:
            return None
        return measured[self.measure] - measured[self.reference]


def _side(difference: float) -> str:
    return f"{abs(difference):.3f} {'below' if difference < 0 else 'above'}"


@dataclass(frozen=True, kw_only=True)
class RowShape:
    """What a program reads from its source for each row of the model.

    Args:
        length: tokens of text in a row, so that the model's row is as long as the run's ``sequence_length``.
        advance: where rows continue one another, tokens from the start of a row to that of the next one in its stream.
        others: where rows continue one another, tokens of text from elsewhere beside the row's own.
        carry_bytes: what a row hands on to the next step, at most: a checkpoint must have room for it.
    """

    length: int
    advance: int | None = None
    others: int = 0
    carry_bytes: int = 0


class Trainable(ABC):
    """What a run trains in a phase: one program, or a mixture of several.

    Args:
        settings: its own settings.
        model: the settings of the model.
        vocabulary: the tokens that rows are made of.
    """

    settings: Any
    model: ModelSettings
    vocabulary: Vocabulary

    @classmethod
    @abstractmethod
    def of(cls, settings: Any, model: Any, vocabulary: Vocabulary, build: Callable[[Any], AnyProgram]) -> Self:
        """Make it from settings.

        Args:
            settings, model, vocabulary: as for the class.
            build: makes the programs of settings within these, for a mixture.
        """

    @property
    @abstractmethod
    def parts(self) -> Parts:
        """The programs that it is made of: each step trains one of them."""

    @property
    def selection(self) -> Selection:
        """Which checkpoint is best: by the loss, and the run's result is its last checkpoint all the same."""
        return Selection()

    @abstractmethod
    def build(self, make: MakeBackbone) -> Learner:
        """Build the learner: the backbone, and exactly the heads that the loss uses."""


class Program(Trainable, Generic[SettingsT, ModelT, LearnerT]):
    """An objective or a task; arguments as in ``Trainable``."""

    terms: tuple[str, ...]
    """The names of the loss's terms."""

    ragged: bool = False
    """Whether rows differ in length from batch to batch within a phase: compiled kernels must then serve any length."""

    counted: tuple[str, ...] = ()
    """What ``Batch.normalisers`` counts besides the terms: ``tokens``, where rows are not all as long as the settings say."""

    unit: str = "nats a token"
    """What the loss is measured in, where it has one term."""

    has_perplexity: bool = False
    """Whether the loss has one term that is a language model's: its exponential is then a perplexity."""

    baseline: Baseline | None = None
    """What a validation is compared with; None where nothing is of the same quantity."""

    def __init__(self, settings: SettingsT, model: ModelT, vocabulary: Vocabulary) -> None:
        self.settings: SettingsT = settings
        self.model: ModelT = model
        self.vocabulary = vocabulary

    @classmethod
    def of(cls, settings: SettingsT, model: ModelT, vocabulary: Vocabulary, build: Callable[[Any], AnyProgram]) -> Self:
        return cls(settings, model, vocabulary)

    @property
    def parts(self) -> Parts:
        return Parts.alone(self)

    @abstractmethod
    def row_shape(self, sequence_length: int) -> RowShape:
        """Return how much text a row takes so that the model's row is ``sequence_length`` long.

        Raises:
            SettingsError: if so short a row cannot hold what the program needs.
        """

    @abstractmethod
    def collate(self, rows: Rows, keys: Keys) -> Batch:
        """Make rows ready for the loss: on the CPU, and a function of the rows and their keys alone."""

    @abstractmethod
    def build(self, make: MakeBackbone) -> LearnerT:
        """Build the learner: the backbone, and exactly the heads that the loss uses."""

    @abstractmethod
    def loss(self, learner: LearnerT, batch: Batch, carry: Carry) -> tuple[dict[str, Term], Carry]:
        """Return the terms of the loss as sums, and what goes on to the next step."""

    def measures(self, counts: Mapping[str, NDArray[np.float64]], unigram: NDArray[np.float64] | None) -> dict[str, float]:
        """Compute measures from the counts of several numbers (``Term.counts``), say from a histogram; here none.

        Args:
            counts: by ``TERM/COUNT``, each added up over all held-out rows.
            unigram: [vocabulary] the loss, in nats, of each token for a model that knows only how frequent each is in the
                training text; None where there is no such text.

        Returns:
            By ``TERM/MEASURE``, to stand beside the losses; by ``MEASURE`` alone where the program is judged by it.
        """
        return {}

    @abstractmethod
    def inspect(self, batch: Batch) -> Inspection:
        """Show what the program did to a batch; no learner is needed."""

    @cached_property
    def answering(self) -> Answering[LearnerT] | None:
        """How the learner is asked about texts; None for a program without an answer."""
        return None


AnyProgram = Program[Any, Any, Any]
"""A program of any settings, model and learner."""
