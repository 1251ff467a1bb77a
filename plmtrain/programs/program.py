"""The one thing that the trainer trains: a program, be it a pretraining objective or a fine-tuning task.

A program turns rows into batches, builds the learner with exactly the heads that its loss uses, computes the terms of the
loss as sums, predicts, and shows what it does to text. It holds settings and no state: all that outlives a step is in the
learner, or in the carry that ``loss`` hands on.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic, Protocol, Self, TypeVar

from plmtrain.data.rows.row_formats import RowFormat
from plmtrain.data.rows.rows import Rows, side_by_side

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from plmtrain.backbones import Backbone
    from plmtrain.batch import Batch, Term
    from plmtrain.keyed_random import Keys
    from plmtrain.settings.generation import GenerationSettings
    from plmtrain.settings.models.base import ModelSettings
    from plmtrain.text.tokenizer import Tokenizer
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
            ``plain``, ``special``, ``masked``, ``random``, ``kept``, ``inserted``, ``deleted``, ``moved``, ``target``, ``blank``.
    """

    lines: Mapping[str, Sequence[tuple[int, str]]]


@dataclass(frozen=True)
class Inspection:
    """What a program did to a batch.

    Args:
        rows: each row as it is drawn.
        rates: by name, a part and the whole that it is a part of; over batches both are summed.
        histograms: by name, how often each value occurred.
        notes: what cannot be seen in the rows, a sentence each.
    """

    rows: Sequence[Shown]
    rates: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    histograms: Mapping[str, Mapping[int, int]] = field(default_factory=dict)
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Answer:
    """What ``plmtrain predict`` says of a text.

    Args:
        values: JSON-ready, with tokens written out as text.
        lines: the same for people.
    """

    values: Mapping[str, Any]
    lines: Sequence[str]


@dataclass(frozen=True)
class Demonstration:
    """What a learner makes of some held-out sentences, as a table that closes its training.

    Args:
        title: what is shown.
        headings: one for each column; the first is the widest.
        rows: the cells of each row.
    """

    title: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Selection:
    """What says which checkpoint of a run is its best.

    Args:
        measure: one of those that a validation gives.
        higher: whether more of it is better.
        decides: whether the run's result is its best checkpoint rather than its last one.
    """

    measure: str = "loss"
    higher: bool = False
    decides: bool = False


class Program(ABC, Generic[SettingsT]):
    """An objective or a task.

    A text that a user asks about goes ``questions`` -> ``collate_for_prediction`` -> ``predict`` -> ``read_out``: only the
    first and the last know of text, the two between them of ids alone.

    Args:
        settings: the program's own settings.
        model: the settings of the model that it trains.
        vocabulary: the tokens that rows are made of.
    """

    terms: tuple[str, ...]
    """The names of the loss's terms."""

    ragged: bool = False
    """Whether rows are of another length from batch to batch within a phase: compiled kernels must then serve any length."""

    counted: tuple[str, ...] = ()
    """What ``Batch.normalisers`` counts besides the terms: ``tokens``, where rows are not all as long as the settings say."""

    in_nats_a_token: bool = True
    """Whether the loss, where it has one term, is a language model's: then its exponential is a perplexity."""

    part: str | None = None
    """Which part of a program it is; None if it is none."""

    parts: Mapping[str, Program[Any]] = MappingProxyType({})
    """The programs that it is made of, by name; empty for most. Each step trains one of them, and each reads rows of its own."""

    main: str | None = None
    """Of its parts, the one that answers where none is named."""

    def __init__(self, settings: SettingsT, model: ModelSettings, vocabulary: Vocabulary) -> None:
        self.settings = settings
        self.model = model
        self.vocabulary = vocabulary

    @classmethod
    def of(cls, settings: SettingsT, model: ModelSettings, vocabulary: Vocabulary, build: Callable[[Any], Program[Any]]) -> Self:
        """The program of some settings.

        Args:
            settings, model, vocabulary: as for the class.
            build: gives the programs of settings within these, for a program that is made of others.
        """
        return cls(settings, model, vocabulary)

    def drawn(self, seed: int, step: int) -> Program[Any]:
        """What a step trains, the same in all processes: itself, or else one of its parts.

        Args:
            seed: the run's seed.
            step: 0-based over the whole run.
        """
        return self

    def trains_all(self, learner: nn.Module) -> bool:
        """Whether every step trains every parameter of the learner."""
        return True

    def joined(self, measured: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
        """What a validation of all parts comes to.

        Args:
            measured: for each part, what its own validation gave.
        """
        raise AssertionError("a program without parts is measured as a whole")

    @cached_property
    def format(self) -> RowFormat:
        """How its rows are laid out: here as the model's family lays out one text."""
        return RowFormat.of(self.model.family, 1)

    @property
    def selection(self) -> Selection:
        """What says which checkpoint is best: here the loss, and the run's result is its last one all the same."""
        return Selection()

    @abstractmethod
    def row_length(self, sequence_length: int) -> int:
        """How many tokens of text a row takes so that the model's row is ``sequence_length`` long."""

    def row_advance(self, sequence_length: int) -> int:
        """Where rows go on from one another: tokens from the start of a row to that of the next one in its stream."""
        return self.row_length(sequence_length)

    def other_length(self, sequence_length: int) -> int:
        """Where rows go on from one another: how many tokens of text from elsewhere a row wants beside its own."""
        return 0

    def carry_size(self, sequence_length: int) -> int:
        """Bytes that a row hands on to the next step, at most: a checkpoint must have room for them."""
        return 0

    @abstractmethod
    def collate(self, rows: Rows, keys: Keys) -> Batch:
        """Make rows ready for the loss: on the CPU, and a function of the rows and their keys alone."""

    def collate_for_prediction(self, rows: Rows) -> Batch:
        """Make rows ready for ``predict``: nothing is hidden or changed that the user did not hide.

        Here each row is laid out as the model's family lays out one text.
        """
        import torch

        from plmtrain.batch import Batch, Layout
        from plmtrain.data.rows.framing import framed

        original = framed(rows, self.format, self.vocabulary)
        return Batch(
            inputs={"ids": torch.from_numpy(original.ids)},
            targets={},
            layout=Layout.of(original.real, original.documents),
            samples=torch.arange(len(rows)),
            normalisers={},
        )

    @abstractmethod
    def build(self, make: MakeBackbone) -> nn.Module:
        """The learner: the backbone, and exactly the heads that the loss uses."""

    @abstractmethod
    def loss(self, learner: nn.Module, batch: Batch, carry: Carry) -> tuple[dict[str, Term], Carry]:
        """The terms of the loss as sums, and what goes on to the next step."""

    def measures(self, counts: Mapping[str, NDArray[np.float64]]) -> dict[str, float]:
        """What is read from the counts of several numbers (``Term.counts``), say from a histogram; here nothing.

        Args:
            counts: by ``TERM/COUNT``, each added up over all held-out rows.

        Returns:
            By ``TERM/MEASURE``, to stand beside the losses; by ``MEASURE`` alone where it is what the program is judged by.
        """
        return {}

    @abstractmethod
    def backbone_of(self, learner: nn.Module) -> Backbone:
        """The backbone that outlives pretraining."""

    def token_head_of(self, learner: nn.Module) -> nn.Module | None:
        """The head that scores the vocabulary from what the backbone says of a token, where the learner has one."""
        from plmtrain.nn.heads import MaskedLMHead, TiedHead

        return next((part for part in learner.children() if isinstance(part, MaskedLMHead | TiedHead)), None)

    def pooler_of(self, learner: nn.Module) -> nn.Linear | None:
        """The dense layer that sums up a row at its first token, where the learner has one: it outlives pretraining, too."""
        from plmtrain.nn.heads import Pooler

        return next((part.dense for part in learner.modules() if isinstance(part, Pooler)), None)

    @abstractmethod
    def predict(self, learner: nn.Module, batch: Batch) -> list[dict[str, Any]]:
        """A JSON-ready answer for each row, with the index of its ``sample``."""

    def writing(self, chosen: GenerationSettings) -> Program[SettingsT]:
        """The same program, but for how it writes the text of its answers.

        Raises:
            SettingsError: if its answers are no text that is written token by token.
        """
        from plmtrain.errors import SettingsError

        given = ", ".join(f"--{name.replace('_', '-')}" for name in sorted(chosen.model_fields_set))
        raise SettingsError("the run does not write text", given, "leave the options of text generation away")

    @abstractmethod
    def inspect(self, batch: Batch) -> Inspection:
        """What the program did to a batch; no learner is needed."""

    def questions(self, texts: Sequence[str], tokenizer: Tokenizer) -> Rows:
        """Rows that ask about texts, one for each, without the special tokens that ``collate_for_prediction`` adds.

        Here a text is its tokens, and names of special tokens in it are mere text.

        Raises:
            DataError: if a text lacks what the program needs, say a mask to fill.
        """
        return side_by_side(tokenizer.encode(texts), self.vocabulary.padding)

    def read_out(self, text: str, ids: NDArray[np.int64], answer: Mapping[str, Any], tokenizer: Tokenizer) -> Answer:
        """An answer of ``predict`` in words; here as it is, numbers for tokens.

        Args:
            text: what was asked about.
            ids: [tokens] its tokens, from ``questions``.
            answer: what ``predict`` gave for its row.
            tokenizer: what turned it into tokens.
        """
        values = {"text": text, **{key: value for key, value in answer.items() if key != "sample"}}
        return Answer(values, [f"{key}: {value}" for key, value in values.items()])

    def demonstrate(self, learner: nn.Module, rows: Rows, tokenizer: Tokenizer) -> Demonstration:
        """Show what the learner makes of some held-out sentences; here, what it answers when it is asked about them.

        Args:
            learner: in eval mode.
            rows: a sentence each.
            tokenizer: what turned them into tokens.
        """
        found = []
        for row, answer in enumerate(self.predict(learner, self.collate_for_prediction(rows))):
            ids = rows.tokens[row, : rows.lengths[row]]
            text = tokenizer.decode(ids).strip()
            found.append((text, "\n".join(self.read_out(text, ids, answer, tokenizer).lines)))
        return Demonstration("answers (held-out text)", ("sentence", "answer"), found)

    def models(self, learner: nn.Module) -> Mapping[str, Sequence[nn.Module]]:
        """The models that a learner is made of: for each its backbone and the heads on it, as ``plmtrain export`` writes them.

        The first one is meant where none is named. Here the learner is one model, made of all its parts.
        """
        return {"model": list(learner.children())}

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
