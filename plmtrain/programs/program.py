"""The interface of a program: a pretraining objective or a fine-tuning task, as the trainer sees it.

A program turns rows into batches, builds the learner with exactly the heads that its loss uses, computes the terms of the
loss as sums, and shows how it changes text. It holds settings and no state: all state between steps is in the learner, or in
the carry that ``loss`` returns. The use of a trained learner is in ``plmtrain.programs.answering``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, Self, TypeVar

from plmtrain.data.rows.row_formats import RowFormat
from plmtrain.programs.baseline import Baseline
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
"""Detached tensors that a step passes to the next one, [streams, ...] by name; empty for most programs."""


class MakeBackbone(Protocol):
    """A function that builds a backbone from model settings, the argument of ``build``."""

    def __call__(self, model: ModelSettings) -> Backbone: ...


@dataclass(frozen=True)
class Selection:
    """The criterion for a run's best checkpoint.

    Args:
        measure: the name of a measure of validation.
        higher: whether a higher value is better.
        decides: whether the run's result is its best checkpoint rather than its last one.
    """

    measure: str = "loss"
    higher: bool = False
    decides: bool = False


@dataclass(frozen=True, kw_only=True)
class RowShape:
    """The text that a program reads for each row of the model.

    Args:
        length: the number of text tokens in a row, so that the model's row has the run's ``sequence_length``.
        advance: in blocks and streams, the number of tokens from the start of a row to the start of the next one; the length if
            not given.
        others: in streams, the number of text tokens from elsewhere in addition to the row's own.
        carry_bytes: the maximum size of a row's carry, for which a checkpoint needs space.
    """

    length: int
    advance: int | None = None
    others: int = 0
    carry_bytes: int = 0


class Trainable(ABC):
    """The program, or the mixture of programs, that a run trains in a phase.

    Args:
        settings: the settings of the objective or task.
        model: the settings of the model.
        vocabulary: the vocabulary of the rows.
    """

    settings: Any
    model: ModelSettings
    vocabulary: Vocabulary

    kinds: ClassVar[frozenset[str] | None] = None
    """The kinds of backbone that it trains, where an objective has a class for each; None for all that its settings name."""

    @classmethod
    @abstractmethod
    def of(cls, settings: Any, model: Any, vocabulary: Vocabulary, build: Callable[[Any], AnyProgram]) -> Self:
        """Make an instance from settings.

        Args:
            settings, model, vocabulary: as for the class.
            build: makes the programs of a mixture from their settings.
        """

    @property
    @abstractmethod
    def parts(self) -> Parts:
        """The programs that it consists of, one of which each step trains."""

    @property
    def selection(self) -> Selection:
        """The criterion for the best checkpoint: by default the loss, while the run's result is its last checkpoint."""
        return Selection()

    @abstractmethod
    def build(self, make: MakeBackbone) -> Learner:
        """Build the learner: the backbone, and exactly the heads that the loss uses."""

    def initialise(self, learner: Learner) -> None:  # noqa: B027  # most backbones and heads initialise themselves
        """Set those fresh weights of a learner whose initial value depends on the vocabulary. Loaded weights are not passed."""


class Program(Trainable, Generic[SettingsT, ModelT, LearnerT]):
    """An objective or a task; arguments as in ``Trainable``."""

    terms: tuple[str, ...]
    """The names of the loss's terms."""

    ragged: bool = False
    """Whether batches of a phase differ in length, so that compiled kernels must support any length."""

    counted: tuple[str, ...] = ()
    """Further keys of ``Batch.normalisers``: ``tokens``, if rows may be shorter than the settings say."""

    unit: str = "nats a token"
    """The unit of the loss, if it has one term."""

    has_perplexity: bool = False
    """Whether the loss has one term whose exponential is a perplexity."""

    baseline: Baseline | None = None
    """The baseline of a validation; None if there is no comparable one."""

    def __init__(self, settings: SettingsT, model: ModelT, vocabulary: Vocabulary) -> None:
        self.settings: SettingsT = settings
        self.model: ModelT = model
        self.vocabulary = vocabulary

    @classmethod
    def of(cls, settings: SettingsT, model: ModelT, vocabulary: Vocabulary, build: Callable[[Any], AnyProgram]) -> Self:
        return cls(settings, model, vocabulary)

    @cached_property
    def format(self) -> RowFormat:
        """How its rows are laid out: here as the model's family lays out one text."""
        return RowFormat.of(self.model.family, 1)

    @property
    def parts(self) -> Parts:
        return Parts.alone(self)

    def row_shape(self, sequence_length: int) -> RowShape:
        """Return the amount of text in a row so that the model's row is ``sequence_length`` long: by default all of it but the
        special tokens of ``format``.

        Raises:
            SettingsError: if the row is too short for the program.
        """
        return RowShape(length=sequence_length - self.format.framing)

    @abstractmethod
    def collate(self, rows: Rows, keys: Keys) -> Batch:
        """Make the batch for the loss, on the CPU and as a pure function of the rows and their keys."""

    @abstractmethod
    def build(self, make: MakeBackbone) -> LearnerT:
        """Build the learner: the backbone, and exactly the heads that the loss uses."""

    @abstractmethod
    def loss(self, learner: LearnerT, batch: Batch, carry: Carry) -> tuple[dict[str, Term], Carry]:
        """Return the terms of the loss as sums, and the carry for the next step."""

    def measures(self, counts: Mapping[str, NDArray[np.float64]], unigram: NDArray[np.float64] | None) -> dict[str, float]:
        """Compute measures from array-valued counts (``Term.counts``), e.g. from a histogram; by default none.

        Args:
            counts: by ``TERM/COUNT``, each summed over all held-out rows.
            unigram: [vocabulary] the loss of each token, in nats, under the unigram distribution of the training text; None if
                there is no such text.

        Returns:
            The measures, named ``TERM/MEASURE``, or ``MEASURE`` alone if it is a main measure of the program.
        """
        return {}

    def flops(self, batch: Batch, vocabulary: int) -> int | None:
        """Return the FLOPs of the matrix products of a batch's loss (``plmtrain.programs.flops``), without gradients; None if
        they have no closed form.

        Args:
            batch: from ``collate``.
            vocabulary: the number of rows of the token embedding.
        """
        return None

    @abstractmethod
    def inspect(self, batch: Batch) -> Inspection:
        """Show how the program made a batch; no learner is needed."""

    @cached_property
    def answering(self) -> Answering[LearnerT] | None:
        """The learner's predictions on texts; None for a program that has none."""
        return None


AnyProgram = Program[Any, Any, Any]
"""A program of any settings, model and learner."""
