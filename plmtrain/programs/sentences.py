"""The base of tasks with one answer for a text or a pair of texts: the sentence head of each family on one state of the row.

The tasks themselves, with a label or a score as the answer, are in ``plmtrain.tasks``.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from plmtrain.batch import Batch, Inputs, Layout, shift_right
from plmtrain.data.rows.row_formats import RowFormat, formatted
from plmtrain.data.tables.examples import ExampleRows
from plmtrain.data.tables.readers import reader_of
from plmtrain.nn.heads import RowHead, SentenceHead, row_head, row_state
from plmtrain.programs.answering import Answer
from plmtrain.programs.inspection import Inspection, Shown
from plmtrain.programs.learner import Learner
from plmtrain.programs.program import MakeBackbone
from plmtrain.programs.task import TaskAnswering, TaskProgram
from plmtrain.settings.models.base import TransformerSettings
from plmtrain.settings.tasks.base import SentenceTaskSettings

if TYPE_CHECKING:
    from plmtrain.backbones import Backbone
    from plmtrain.data.rows.rows import Rows
    from plmtrain.families import ModelFamily
    from plmtrain.keyed_random import Keys
    from plmtrain.text.tokenizer import Tokenizer
    from plmtrain.text.vocabulary import Vocabulary

SentenceTaskT = TypeVar("SentenceTaskT", bound=SentenceTaskSettings)


class SentenceLearner(Learner):
    """A backbone and a sentence head.

    Args:
        backbone: reads the row.
        head: scores it.
        family: of the model: which state stands for a row, and whether the head's first layer is the pooler.
        closing: the id of the token that closes a row; None where there is none.
    """

    def __init__(self, backbone: Backbone, head: RowHead, family: ModelFamily, closing: int | None) -> None:
        super().__init__(backbone)
        self.head = head
        self._family, self._closing = family, closing

    @property
    def pooler_layer(self) -> nn.Linear | None:
        pooled = self._family.head is not None and self._family.head.pooled
        return self.head.dense if pooled and isinstance(self.head, SentenceHead) else None

    def scores(self, inputs: Inputs) -> Tensor:
        """Return the outputs of the head.  # [batch, outputs]"""
        if self._family.reads == "decoder":
            inputs = replace(inputs, decoder=self._read_again(inputs))
        hidden = self.backbone.hidden(inputs)  # [batch, length, width]
        scores: Tensor = self.head(row_state(hidden, inputs.layout.tokens, first=self._family.reads == "first"))
        return scores

    def _read_again(self, inputs: Inputs) -> Inputs:
        """Return a decoder's inputs that end where it would write the closing token, having read all before it (Lewis et al.
        2020, section 3.1; as in the authors' code, the closing token also stands in front)."""
        assert self._closing is not None, "the settings refuse such a tokenizer"
        return Inputs(ids=shift_right(inputs.ids, self._closing), layout=Layout(tokens=inputs.layout.tokens, causal=True))


class SentenceProgram(TaskProgram[SentenceTaskT, TransformerSettings, SentenceLearner]):
    """A task whose rows are texts or pairs; subclasses define the answer.

    Args:
        settings: the task's.
        model: the settings of the model that it trains.
        vocabulary: the tokens that rows are made of.
        sequence_length: tokens of a row, special ones included; of longer pairs the longer text is cut.
    """

    ragged = True
    counted = ("tokens",)
    targets: str
    """The name of the right answers in a batch's targets."""

    def __init__(self, settings: SentenceTaskT, model: TransformerSettings, vocabulary: Vocabulary, sequence_length: int) -> None:
        super().__init__(settings, model, vocabulary)
        self.sequence_length = sequence_length

    @cached_property
    def format(self) -> RowFormat:
        return RowFormat.of(self.model.family, len(self.settings.text))

    @property
    @abstractmethod
    def outputs(self) -> int:
        """The number of the head's outputs for a row."""

    @cached_property
    @abstractmethod
    def answering(self) -> SentenceAnswering[SentenceTaskT]:
        """How the learner is asked about texts or pairs."""

    @abstractmethod
    def worded(self, target: float) -> str:
        """Return a right answer, given as its number, in words."""

    def collate(self, rows: Rows, keys: Keys) -> Batch:
        assert isinstance(rows, ExampleRows)
        assert rows.targets is not None
        return self.batch(rows, {self.targets: torch.from_numpy(rows.targets)}, torch.from_numpy(keys.samples))

    def batch(self, rows: Rows, targets: Mapping[str, Tensor], samples: Tensor) -> Batch:
        """Frame texts or pairs as the model's family does."""
        laid_out = formatted(rows, self.format, self.vocabulary, self.model.positions)
        segments = torch.from_numpy(laid_out.segments) if self.model.tells_segments else None
        return Batch(
            inputs=Inputs(ids=torch.from_numpy(laid_out.ids), layout=Layout.of(laid_out.real), segments=segments),
            targets=targets,
            samples=samples,
            normalisers={**dict.fromkeys(self.terms, float(len(rows))), "tokens": float(laid_out.real.sum())},
        )

    def build(self, make: MakeBackbone) -> SentenceLearner:
        backbone = make(self.model)
        for parameter in backbone.unread_by_encode():
            parameter.requires_grad_(False)
        head = row_head(self.model, self.outputs, self.settings.dropout)
        return SentenceLearner(backbone, head, self.model.published, self.vocabulary.roles.get("sep"))

    def inspect(self, batch: Batch) -> Inspection:
        ids, real = batch.inputs.ids.numpy(), np.asarray(batch.inputs.layout.tokens)
        special = self.vocabulary.is_special[ids]
        rows = [
            Shown(
                {
                    self.worded(target): [
                        (int(token), "special" if mark else "plain") for token, mark in zip(row[kept], marks[kept], strict=True)
                    ]
                }
            )
            for row, kept, marks, target in zip(ids, real, special, batch.targets[self.targets].tolist(), strict=True)
        ]
        lengths, times = np.unique(real.sum(axis=1), return_counts=True)
        return Inspection(
            rows=rows,
            rates={"cut": (int((real.sum(axis=1) == self.sequence_length).sum()), len(ids))},
            histograms={"tokens in a row": dict(zip(lengths.tolist(), times.tolist(), strict=True))},
        )


class SentenceAnswering(TaskAnswering[SentenceLearner], Generic[SentenceTaskT]):
    """Answers questions about texts or pairs; subclasses define the answer.

    Args:
        program: frames them.
    """

    def __init__(self, program: SentenceProgram[SentenceTaskT]) -> None:
        self.program, self.settings = program, program.settings
        self.reader = reader_of(program.settings)
        self.longest = program.row_shape(program.sequence_length).length

    @abstractmethod
    def answers(self, scores: Tensor) -> list[dict[str, Any]]:
        """Return JSON-ready answers.

        Args:
            scores: [batch, outputs] of the head, in fp32.
        """

    @abstractmethod
    def cells(self, answer: Mapping[str, Any]) -> list[str]:
        """Return the cells of an answer in the line that ``plmtrain predict`` prints."""

    def questions(self, texts: Sequence[str], tokenizer: Tokenizer) -> Rows:
        """Encode a text a line; a pair is two texts with a tab between them. A JSON object has them by column."""
        examples = [self.reader.question(text) for text in texts]
        return self.reader.encode(examples, tokenizer).rows(self.longest).fetch(np.arange(len(texts)))

    def collate(self, rows: Rows) -> Batch:
        return self.program.batch(rows, {}, torch.arange(len(rows)))

    @torch.no_grad()
    def predict(self, learner: SentenceLearner, batch: Batch) -> list[dict[str, Any]]:
        answers = self.answers(learner.scores(batch.inputs).float())
        return [{"sample": sample, **answer} for sample, answer in zip(batch.samples.tolist(), answers, strict=True)]

    def read_out(self, text: str, ids: NDArray[np.int64], answer: Mapping[str, Any], tokenizer: Tokenizer) -> Answer:
        columns = dict(zip(self.settings.text, self.reader.question(text).texts, strict=True))
        values = {key: value for key, value in answer.items() if key != "sample"}
        return Answer({**columns, **values}, ["\t".join([*self.cells(answer), *columns.values()])])
