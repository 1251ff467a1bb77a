"""The base of tasks whose answer a head computes from one state of each row: the head of each family, and the terms of the loss.

Tasks with one answer for a text or a pair are in ``plmtrain.programs.sentences``, the tasks themselves in ``plmtrain.tasks``.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from plmtrain.batch import Batch, Inputs, Layout, Term
from plmtrain.data.rows.row_formats import formatted
from plmtrain.data.tables.examples import ExampleRows
from plmtrain.data.tables.readers import reader_of
from plmtrain.nn.loss import tied_cross_entropy
from plmtrain.nn.task_heads import RowHead, SentenceHead, row_head, row_state
from plmtrain.programs.features import FeatureLearner, mix_of, mix_term, read_again
from plmtrain.programs.inspection import Inspection, Shown
from plmtrain.programs.program import Carry, MakeBackbone
from plmtrain.programs.spelling import with_spellings
from plmtrain.programs.task import TaskAnswering, TaskProgram
from plmtrain.settings.models.base import UniformTransformerSettings
from plmtrain.settings.models.bilstm import BiLSTMSettings
from plmtrain.settings.tasks.base import RowTaskSettings

if TYPE_CHECKING:
    from plmtrain.backbones import Backbone
    from plmtrain.data.rows.rows import Rows
    from plmtrain.families import ModelFamily
    from plmtrain.keyed_random import Keys
    from plmtrain.nn.scalar_mix import ScalarMix
    from plmtrain.text.tokenizer import Tokenizer
    from plmtrain.text.vocabulary import Vocabulary

RowTaskT = TypeVar("RowTaskT", bound=RowTaskSettings)


class RowLearner(FeatureLearner):
    """A backbone and a head that scores rows.

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
            assert self._closing is not None, "the settings refuse such a tokenizer"
            inputs = replace(inputs, decoder=read_again(inputs, self._closing))
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


class RowProgram(TaskProgram[RowTaskT, UniformTransformerSettings | BiLSTMSettings, RowLearner]):
    """A task whose head scores rows; subclasses define the rows of an example, and the answer.

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
        settings: RowTaskT,
        model: UniformTransformerSettings | BiLSTMSettings,
        vocabulary: Vocabulary,
        sequence_length: int,
    ) -> None:
        super().__init__(settings, model, vocabulary)
        self.sequence_length = sequence_length
        usual = 0.0 if settings.mixes(model.published) else model.published.lm_weight
        self.lm_weight = usual if settings.lm_weight is None else settings.lm_weight
        if self.lm_weight:
            self.terms = (*self.terms, "lm")
        if settings.mix_l2:
            self.terms = (*self.terms, "mix")

    @property
    @abstractmethod
    def outputs(self) -> int:
        """The number of the head's outputs for a row."""

    @abstractmethod
    def rows_of(self, rows: Rows) -> tuple[Rows, Mapping[str, Tensor]]:
        """Return the rows of the model for some examples, and what tells which rows are whose, for the batch's targets.

        Args:
            rows: an example each.
        """

    def answer_terms(self, scores: Tensor, batch: Batch, *, training: bool) -> dict[str, Term]:
        """Return the terms of the head's outputs, by name; arguments as in ``answer_term``."""
        return {self.terms[0]: self.answer_term(scores, batch, training=training)}

    @abstractmethod
    def answer_term(self, scores: Tensor, batch: Batch, *, training: bool) -> Term:
        """Return the loss of the head's outputs.

        Args:
            scores: [rows, outputs].
            batch: has the right answers.
            training: whether no counts are needed.
        """

    @abstractmethod
    def titles(self, batch: Batch) -> Sequence[str]:
        """Return the right answer in words for each row of the model."""

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

    def loss(self, learner: RowLearner, batch: Batch, carry: Carry) -> tuple[dict[str, Term], Carry]:
        hidden = learner.hidden(batch.inputs)
        terms = self.answer_terms(learner.scores(batch.inputs, hidden), batch, training=learner.training)
        if self.lm_weight:
            predicting = hidden.flatten(0, 1)[batch.targets["places"]]  # [n, width]
            total, _ = tied_cross_entropy(predicting, learner.backbone.embedding_weight, batch.targets["next"])
            terms["lm"] = Term(total=total, normaliser=batch.normalisers["lm"], weight=self.lm_weight)
        if self.settings.mix_l2:
            terms["mix"] = mix_term(learner, self.settings, batch.normalisers["mix"])
        return terms, carry

    def batch(self, rows: Rows, targets: Mapping[str, Tensor], samples: Tensor) -> Batch:
        """Lay out the rows of some examples as the model's family does."""
        of_model, places = self.rows_of(rows)
        laid_out = formatted(of_model, self.format, self.vocabulary, self.model.positions)
        segments = torch.from_numpy(laid_out.segments)
        inputs = Inputs(
            ids=torch.from_numpy(laid_out.ids),
            layout=Layout.of(laid_out.real),
            segments=segments if self.model.tells_segments else None,
        )
        return Batch(
            inputs=with_spellings(inputs, self.model, self.vocabulary, laid_out.spellings),
            targets={**targets, **places, **({"segments": segments} if self.keeps_segments else {})},
            samples=samples,
            normalisers={
                self.terms[0]: float(len(samples)),
                "tokens": float(laid_out.real.sum()),
                **({"mix": float(len(samples))} if self.settings.mix_l2 else {}),
            },
        )

    def build(self, make: MakeBackbone) -> RowLearner:
        backbone = make(self.model)
        mix = mix_of(backbone, self.settings, self.model)
        closing = self.vocabulary.roles.get("sep")
        return RowLearner(backbone, self.head(), self.model.published, closing, mix, symmetric=self.reads_both_orders)

    @property
    def reads_both_orders(self) -> bool:
        """Whether the second half of a batch's rows are the pairs of the first half in the other order."""
        return False

    def head(self) -> RowHead:
        """Build the head, with fresh weights."""
        return row_head(self.model, self.outputs, self.settings.dropout)

    def inspect(self, batch: Batch) -> Inspection:
        ids, real = batch.inputs.ids.numpy(), np.asarray(batch.inputs.layout.tokens)
        special = self.vocabulary.is_special[ids]
        rows = [
            Shown(
                {
                    title: [
                        (int(token), "special" if mark else "plain") for token, mark in zip(row[kept], marks[kept], strict=True)
                    ]
                }
            )
            for row, kept, marks, title in zip(ids, real, special, self.titles(batch), strict=True)
        ]
        lengths, times = np.unique(real.sum(axis=1), return_counts=True)
        return Inspection(
            rows=rows,
            rates={"cut": (int((real.sum(axis=1) == self.sequence_length).sum()), len(ids))},
            histograms={"tokens in a row": dict(zip(lengths.tolist(), times.tolist(), strict=True))},
        )


class RowAnswering(TaskAnswering[RowLearner], Generic[RowTaskT]):
    """Answers questions by the scores of rows; subclasses define the answer.

    Args:
        program: lays out the rows.
    """

    def __init__(self, program: RowProgram[RowTaskT]) -> None:
        self.program, self.settings = program, program.settings
        self.reader = reader_of(program.settings)
        self.longest = program.row_shape(program.sequence_length).length

    @abstractmethod
    def answers(self, scores: Tensor, batch: Batch) -> list[dict[str, Any]]:
        """Return a JSON-ready answer for each example.

        Args:
            scores: [rows, outputs] of the head, in fp32.
            batch: of the examples.
        """

    def questions(self, texts: Sequence[str], tokenizer: Tokenizer) -> Rows:
        """Encode a question a line, as the reader of the task reads it; a JSON object has its texts by column."""
        examples = [self.reader.question(text) for text in texts]
        return self.reader.encode(examples, tokenizer).rows(self.longest).fetch(np.arange(len(texts)))

    def collate(self, rows: Rows) -> Batch:
        return self.program.batch(rows, {}, torch.arange(len(rows)))

    def scores(self, learner: RowLearner, inputs: Inputs) -> Tensor:
        """Return the outputs of the head for the rows of some examples.  # [rows, outputs]"""
        return learner.scores(inputs)

    @torch.no_grad()
    def predict(self, learner: RowLearner, batch: Batch) -> list[dict[str, Any]]:
        answers = self.answers(self.scores(learner, batch.inputs).float(), batch)
        return [{"sample": sample, **answer} for sample, answer in zip(batch.samples.tolist(), answers, strict=True)]
