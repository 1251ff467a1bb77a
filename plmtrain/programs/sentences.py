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

from plmtrain.batch import Batch, Inputs, Layout, Term, shift_right
from plmtrain.data.rows.row_formats import RowFormat, formatted
from plmtrain.data.tables.examples import ExampleRows, in_both_orders
from plmtrain.data.tables.readers import reader_of
from plmtrain.nn.heads import RowHead, SentenceHead, row_head, row_state
from plmtrain.nn.loss import tied_cross_entropy
from plmtrain.programs.answering import Answer
from plmtrain.programs.features import FeatureLearner, mix_of, mix_term
from plmtrain.programs.inspection import Inspection, Shown
from plmtrain.programs.program import Carry, MakeBackbone
from plmtrain.programs.spelling import with_spellings
from plmtrain.programs.task import TaskAnswering, TaskProgram
from plmtrain.settings.models.base import UniformTransformerSettings
from plmtrain.settings.models.bilstm import BiLSTMSettings
from plmtrain.settings.tasks.base import SentenceTaskSettings

if TYPE_CHECKING:
    from plmtrain.backbones import Backbone
    from plmtrain.data.rows.rows import Rows
    from plmtrain.families import ModelFamily
    from plmtrain.keyed_random import Keys
    from plmtrain.nn.scalar_mix import ScalarMix
    from plmtrain.text.tokenizer import Tokenizer
    from plmtrain.text.vocabulary import Vocabulary

SentenceTaskT = TypeVar("SentenceTaskT", bound=SentenceTaskSettings)


class SentenceLearner(FeatureLearner):
    """A backbone and a sentence head.

    Args:
        backbone: reads the row.
        head: scores it.
        family: of the model: which state stands for a row, and whether the head's first layer is the pooler.
        closing: the id of the token that closes a row; None where there is none.
        mix: mixes the states of all layers of a backbone that is not trained; None if the head reads the last states.
        symmetric: whether the second half of a batch's rows are the pairs of the first half in the other order.
    """

    def __init__(
        self,
        backbone: Backbone,
        head: RowHead,
        family: ModelFamily,
        closing: int | None,
        mix: ScalarMix | None = None,
        *,
        symmetric: bool = False,
    ) -> None:
        super().__init__(backbone, mix)
        self.head = head
        self._family, self._closing, self._symmetric = family, closing, symmetric

    @property
    def pooler_layer(self) -> nn.Linear | None:
        pooled = self._family.head is not None and self._family.head.pooled
        return self.head.dense if pooled and isinstance(self.head, SentenceHead) else None

    def hidden(self, inputs: Inputs) -> Tensor:
        """Return the states of the rows that the head reads.  # [rows, length, width]"""
        if self._family.reads == "decoder":
            inputs = replace(inputs, decoder=self._read_again(inputs))
        return super().hidden(inputs)

    def scores(self, inputs: Inputs, hidden: Tensor | None = None) -> Tensor:
        """Return the outputs of the head.

        Args:
            inputs: the rows.
            hidden: [rows, length, width] their hidden states, if these are known already.

        Returns:
            [batch, outputs].
        """
        hidden = self.hidden(inputs) if hidden is None else hidden
        states = row_state(hidden, inputs.layout.tokens, self._family.reads)  # [rows, width]
        if self._symmetric:
            states = states.view(2, -1, states.shape[-1]).sum(dim=0)
        scores: Tensor = self.head(states)
        return scores

    def _read_again(self, inputs: Inputs) -> Inputs:
        """Return a decoder's inputs that end where it would write the closing token, having read all before it (Lewis et al.
        2020, section 3.1; as in the authors' code, the closing token also stands in front)."""
        assert self._closing is not None, "the settings refuse such a tokenizer"
        return Inputs(ids=shift_right(inputs.ids, self._closing), layout=Layout(tokens=inputs.layout.tokens, causal=True))


class SentenceProgram(TaskProgram[SentenceTaskT, UniformTransformerSettings | BiLSTMSettings, SentenceLearner]):
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
    keeps_segments: bool = False
    """Whether a batch's targets have the segments of rows, too, for one who reads them although the model does not."""

    def __init__(
        self,
        settings: SentenceTaskT,
        model: UniformTransformerSettings | BiLSTMSettings,
        vocabulary: Vocabulary,
        sequence_length: int,
    ) -> None:
        super().__init__(settings, model, vocabulary)
        self.sequence_length = sequence_length
        weight = settings.lm_weight
        self.lm_weight = model.published.lm_weight if weight is None else weight
        if self.lm_weight:
            self.terms = (*self.terms, "lm")
        if settings.mix_l2:
            self.terms = (*self.terms, "mix")

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
        batch = self.batch(rows, {self.targets: torch.from_numpy(rows.targets)}, torch.from_numpy(keys.samples))
        return self._with_next_tokens(batch) if self.lm_weight else batch

    def _with_next_tokens(self, batch: Batch) -> Batch:
        """Add the targets of the language-model loss: at each token but the last of a row, the one after it."""
        ids, real = batch.inputs.ids, batch.inputs.layout.tokens
        assert real is not None
        followed = torch.zeros_like(real)
        followed[:, :-1] = real[:, :-1] & real[:, 1:]
        places = followed.flatten().nonzero()[:, 0]
        return replace(
            batch,
            targets={**batch.targets, "places": places, "next": ids.flatten()[places + 1]},
            normalisers={**batch.normalisers, "lm": float(len(places))},
        )

    def loss(self, learner: SentenceLearner, batch: Batch, carry: Carry) -> tuple[dict[str, Term], Carry]:
        hidden = learner.hidden(batch.inputs)
        terms = self.answer_terms(learner.scores(batch.inputs, hidden), batch, training=learner.training)
        if self.lm_weight:
            predicting = hidden.flatten(0, 1)[batch.targets["places"]]  # [n, width]
            total, _ = tied_cross_entropy(predicting, learner.backbone.embedding_weight, batch.targets["next"])
            terms["lm"] = Term(total=total, normaliser=batch.normalisers["lm"], weight=self.lm_weight)
        if self.settings.mix_l2:
            terms["mix"] = mix_term(learner, self.settings, batch.normalisers["mix"])
        return terms, carry

    def answer_terms(self, scores: Tensor, batch: Batch, *, training: bool) -> dict[str, Term]:
        """Return the terms of the head's outputs, by name; arguments as in ``answer_term``."""
        return {self.terms[0]: self.answer_term(scores, batch, training=training)}

    @abstractmethod
    def answer_term(self, scores: Tensor, batch: Batch, *, training: bool) -> Term:
        """Return the loss of the head's outputs.

        Args:
            scores: [batch, outputs].
            batch: has the right answers.
            training: whether no counts are needed.
        """

    def batch(self, rows: Rows, targets: Mapping[str, Tensor], samples: Tensor) -> Batch:
        """Frame texts or pairs as the model's family does; pairs without an order in both orders, one after the other."""
        if self.settings.symmetric:
            rows = in_both_orders(rows)
        laid_out = formatted(rows, self.format, self.vocabulary, self.model.positions)
        segments = torch.from_numpy(laid_out.segments)
        inputs = Inputs(
            ids=torch.from_numpy(laid_out.ids),
            layout=Layout.of(laid_out.real),
            segments=segments if self.model.tells_segments else None,
        )
        return Batch(
            inputs=with_spellings(inputs, self.model, self.vocabulary, laid_out.spellings),
            targets={**targets, "segments": segments} if self.keeps_segments else targets,
            samples=samples,
            normalisers={
                self.terms[0]: float(len(samples)),
                "tokens": float(laid_out.real.sum()),
                **({"mix": float(len(samples))} if self.settings.mix_l2 else {}),
            },
        )

    def build(self, make: MakeBackbone) -> SentenceLearner:
        backbone = make(self.model)
        mix = mix_of(backbone, self.settings, self.model)
        head = row_head(self.model, self.outputs, self.settings.dropout)
        closing = self.vocabulary.roles.get("sep")
        return SentenceLearner(backbone, head, self.model.published, closing, mix, symmetric=self.settings.symmetric)

    def inspect(self, batch: Batch) -> Inspection:
        ids, real = batch.inputs.ids.numpy(), np.asarray(batch.inputs.layout.tokens)
        special = self.vocabulary.is_special[ids]
        targets = batch.targets[self.targets].tolist() * (2 if self.settings.symmetric else 1)
        rows = [
            Shown(
                {
                    self.worded(target): [
                        (int(token), "special" if mark else "plain") for token, mark in zip(row[kept], marks[kept], strict=True)
                    ]
                }
            )
            for row, kept, marks, target in zip(ids, real, special, targets, strict=True)
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
