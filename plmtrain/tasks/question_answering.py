"""Answers to questions, found in a text by their first and last tokens (Devlin et al. 2019, sections 4.2 and 4.3).

A row has a question and its context, or a window of it, in the order of the model's family. Where the right answer is not wholly
in the window, or where there is none, the right place of both its ends is the classification token. The probabilities are over
all real tokens of the row; padding has none, so that a loss does not depend on the other rows of a batch.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from copy import copy
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from plmtrain.batch import Batch, Inputs, Layout, Term
from plmtrain.data.rows.row_formats import RowFormat, placed
from plmtrain.data.rows.rows import beside
from plmtrain.data.tables.readers import reader_of
from plmtrain.data.tables.spans import QuestionRows, RightAnswers
from plmtrain.errors import SettingsError
from plmtrain.metrics.answers import Scores, best_threshold
from plmtrain.nn.loss import cross_entropy_sum
from plmtrain.nn.task_heads import SpanHead, span_head
from plmtrain.programs.answer_spans import (
    NONE,
    SpanLearner,
    best_spans,
    candidates_of,
    cells,
    chosen,
    difference,
    likely_sentence,
    listed,
    text_of,
)
from plmtrain.programs.answer_tables import shortened
from plmtrain.programs.answering import Answer, Demonstration
from plmtrain.programs.features import mix_of, mix_term
from plmtrain.programs.inspection import Inspection, Shown
from plmtrain.programs.program import Carry, MakeBackbone, RowShape, Selection
from plmtrain.programs.review import Review, all_alike
from plmtrain.programs.task import TaskAnswering, TaskProgram
from plmtrain.settings.models.base import UniformTransformerSettings
from plmtrain.settings.tasks.question_answering import QuestionAnsweringSettings

if TYPE_CHECKING:
    from plmtrain.data.rows.rows import Rows
    from plmtrain.data.tables.labelled import Examples
    from plmtrain.data.tables.reader import Example
    from plmtrain.keyed_random import Keys
    from plmtrain.text.tokenizer import Tokenizer
    from plmtrain.text.vocabulary import Vocabulary

_SHORTEST = 4
"""The least tokens of text in a row: two of a question, and two of a context."""
_WORST = 5
"""The number of examples in the table of the surest wrong answers."""


class QuestionAnswering(TaskProgram[QuestionAnsweringSettings, UniformTransformerSettings, SpanLearner]):
    """Find the answer to a question in a text.

    Args:
        settings: the task's.
        model: the settings of the model that it trains.
        vocabulary: the tokens that rows are made of.
        sequence_length: tokens of a row, special ones included; longer contexts are read in several rows.
    """

    terms: tuple[str, ...] = ("spans",)
    continued = (SpanHead,)  # it means the same whatever the texts are about
    unit = "nats an end of an answer"
    ragged = True
    counted = ("tokens",)

    def __init__(
        self,
        settings: QuestionAnsweringSettings,
        model: UniformTransformerSettings,
        vocabulary: Vocabulary,
        sequence_length: int,
    ) -> None:
        super().__init__(settings, model, vocabulary)
        self.sequence_length = sequence_length
        if settings.mix_l2:
            self.terms = (*self.terms, "mix")

    @classmethod
    def of_heads(cls, heads: Set[type[nn.Module]], labels: tuple[str, ...]) -> QuestionAnsweringSettings | None:
        return QuestionAnsweringSettings(name="question_answering") if SpanHead in heads else None

    @cached_property
    def format(self) -> RowFormat:
        return RowFormat.of(self.model.family, 2)

    def row_shape(self, sequence_length: int) -> RowShape:
        shape = super().row_shape(sequence_length)
        if shape.length < _SHORTEST:
            what = f"rows of {sequence_length} tokens have no room for a question and a part of its context"
            raise SettingsError(what, "trainer.sequence_length", "give 128 or more; BERT's has 384")
        return shape

    @property
    def selection(self) -> Selection:
        return Selection(self.settings.metrics[0], higher=True, decides=True)

    def collate(self, rows: Rows, keys: Keys) -> Batch:
        assert isinstance(rows, QuestionRows)
        assert rows.answers is not None
        return self.batch(rows, torch.from_numpy(keys.samples))

    def batch(self, rows: QuestionRows, samples: Tensor) -> Batch:
        """Frame questions and contexts as the model's family does.

        Its targets, all by row: ``characters`` of each token in the context, whether an answer may begin (``own``) or end
        (``inside``) at it, the place of the classification token (``none``), and the ``answer``'s first and last place.
        """
        window = rows.others
        assert window is not None
        question = replace(rows, others=None)
        first = self.model.published.question == "first"
        pair = replace(question, others=window) if first else replace(window, others=question)
        assert pair.others is not None
        placing = placed(pair, self.format, self.model.positions)
        special = [False] * self.format.framing

        def in_row(values: NDArray[Any]) -> NDArray[Any]:
            """Move values of the tokens of windows to their places in the rows.  # [rows, length] each"""
            others = np.zeros(question.tokens.shape, values.dtype)
            return placing.filled(beside(*((others, values) if first else (values, others))), special, False)

        characters = np.stack([in_row(rows.characters[..., side]) for side in (0, 1)], axis=-1)
        shown = characters[..., 0] < characters[..., 1]
        summary = [False] * self.format.framing
        summary[self.format.roles.index("cls")] = True
        nothing = np.zeros(beside(pair.tokens, pair.others.tokens).shape, np.bool_)
        none = placing.filled(nothing, summary, False).argmax(axis=1)
        targets = {
            "characters": torch.from_numpy(characters),
            "own": torch.from_numpy(in_row(rows.own) & shown),
            "inside": torch.from_numpy(in_row(window.word_starts) & shown),
            "none": torch.from_numpy(none),
        }
        if rows.answers is not None:
            ends = [in_row(np.arange(window.tokens.shape[1]) == rows.answers[:, side, None]).argmax(axis=1) for side in (0, 1)]
            right = np.where(rows.answers >= 0, np.stack(ends, axis=1), none[:, None])
            targets["answer"] = torch.from_numpy(right)
        inputs = Inputs(
            ids=torch.from_numpy(placing.ids(beside(pair.tokens, pair.others.tokens), self.vocabulary)),
            layout=Layout.of(placing.real),
            segments=torch.from_numpy(placing.segments) if self.model.tells_segments else None,
        )
        normalisers = {"spans": float(len(samples)), "tokens": float(placing.real.sum())}
        if self.settings.mix_l2:
            normalisers["mix"] = float(len(samples))
        return Batch(inputs=inputs, targets=targets, samples=samples, normalisers=normalisers)

    def build(self, make: MakeBackbone) -> SpanLearner:
        backbone = make(self.model)
        mix = mix_of(backbone, self.settings, self.model)
        closing = self.vocabulary["sep"] if self.model.published.reads == "decoder" else None
        return SpanLearner(backbone, span_head(self.model, self.settings.dropout), mix, closing)

    def loss(self, learner: SpanLearner, batch: Batch, carry: Carry) -> tuple[dict[str, Term], Carry]:
        scores, right = learner.scores(batch.inputs), batch.targets["answer"]
        total = sum(cross_entropy_sum(scores[..., end].contiguous(), right[:, end]) for end in (0, 1)) / 2
        assert isinstance(total, Tensor)
        terms = {"spans": Term(total=total, normaliser=batch.normalisers["spans"])}
        if self.settings.mix_l2:
            terms["mix"] = mix_term(learner, self.settings, batch.normalisers["mix"])
        return terms, carry

    @cached_property
    def answering(self) -> AnswerFinding:
        return AnswerFinding(self)

    def inspect(self, batch: Batch) -> Inspection:
        ids, real = batch.inputs.ids.numpy(), np.asarray(batch.inputs.layout.tokens)
        right, none = batch.targets["answer"].numpy(), batch.targets["none"].numpy()
        places = np.arange(ids.shape[1])
        marked = (places >= right[:, :1]) & (places <= right[:, 1:])
        marks = np.where(marked, "target", np.where(self.vocabulary.is_special[ids], "special", "plain"))
        there = right[:, 0] != none
        rows = [
            Shown({"answer" if answered else "no answer here": list(zip(row[own].tolist(), mark[own], strict=True))})
            for row, own, mark, answered in zip(ids, real, marks, there.tolist(), strict=True)
        ]
        return Inspection(
            rows=rows,
            rates={"answer in the row": (int(there.sum()), len(ids))},
            histograms={
                "tokens in a row": dict(Counter(real.sum(axis=1).tolist())),
                "tokens of an answer": dict(Counter((right[there, 1] - right[there, 0] + 1).tolist())),
            },
            notes=["Without an answer in the row, both its ends are at the classification token."],
        )


class AnswerFinding(TaskAnswering[SpanLearner]):
    """Find answers in texts.

    Args:
        program: frames questions and contexts.
    """

    def __init__(self, program: QuestionAnswering) -> None:
        self.program, self.settings = program, program.settings
        self.reader = reader_of(program.settings)
        self.longest = program.row_shape(program.sequence_length).length
        self._shown = 1

    @property
    def scored(self) -> tuple[str, ...]:
        return self.settings.metrics

    def ranked(self, count: int) -> Self:
        """Return the same, which reads out several answers.

        Raises:
            SettingsError: if fewer are compared.
        """
        if count > self.settings.n_best:
            what = f"{count} answers are asked for, and {self.settings.n_best} are compared"
            raise SettingsError(what, f"--n-best {count}", f"give at most {self.settings.n_best} (task.n_best of the run)")
        other = copy(self)
        other._shown = count
        return other

    def questions(self, texts: Sequence[str], tokenizer: Tokenizer) -> Rows:
        """Encode a question and its context a line, with a tab between them. A JSON object has them by column."""
        examples = [self.reader.question(text) for text in texts]
        rows = self.reader.encode(examples, tokenizer).rows(self.longest)
        return rows.fetch(np.arange(len(rows)))

    def owners(self, rows: Rows) -> NDArray[np.int64]:
        assert isinstance(rows, QuestionRows)
        return rows.owners

    def collate(self, rows: Rows) -> Batch:
        assert isinstance(rows, QuestionRows)
        return self.program.batch(rows, torch.arange(len(rows)))

    def predict(self, learner: SpanLearner, batch: Batch) -> list[dict[str, Any]]:
        """Return for each row the best ``answers`` with their characters and scores, and the score of no answer."""
        return [answer for first, part in batch.inputs.in_parts() for answer in self._predict(learner, _some(batch, first, part))]

    @torch.no_grad()
    def _predict(self, learner: SpanLearner, batch: Batch) -> list[dict[str, Any]]:
        scores, targets = learner.scores(batch.inputs), batch.targets
        begins = scores[..., 0].masked_fill(~targets["own"], -math.inf)
        ends = scores[..., 1].masked_fill(~targets["inside"], -math.inf)
        best, first, last = best_spans(begins, ends, self.settings.answer_length, self.settings.n_best)
        characters = targets["characters"]
        starts, stops = characters[..., 0].gather(1, first), characters[..., 1].gather(1, last)
        none = scores.sum(dim=-1).gather(1, targets["none"][:, None])[:, 0]
        return [
            {
                "sample": sample,
                "answers": [
                    {"start": start, "end": end, "score": score}
                    for start, end, score in zip(*each, strict=True)
                    if score > -math.inf
                ],
                "no_answer_score": silent,
            }
            for sample, silent, *each in zip(
                batch.samples.tolist(), none.tolist(), starts.tolist(), stops.tolist(), best.tolist(), strict=True
            )
        ]

    def merge(self, answers: Sequence[dict[str, Any]]) -> dict[str, Any]:
        return candidates_of(answers, self.settings.n_best, unanswerable=self.settings.unanswerable)

    def score(self, predictions: Sequence[Mapping[str, Any]], references: Sequence[Any]) -> dict[str, float]:
        """Compute the metrics of SQuAD; of SQuAD 2.0 at the threshold, and apart for questions with an answer and without one.

        Without a threshold in the settings it is that which is best for these examples.
        """
        threshold = self._threshold(predictions, references)
        scores = self._scores([chosen(each, threshold) for each in predictions], references)
        by_name: dict[str, NDArray[np.float64]] = {name: getattr(scores, name) for name in self.settings.metrics}
        values = {name: _mean(each) for name, each in by_name.items()}
        if threshold is None:
            return values
        answered = np.array([bool(right.texts) for right in references], np.bool_)
        for kind, those in (("has_answer", answered), ("no_answer", ~answered)):
            values |= {f"{name}_{kind}": _mean(each[those]) for name, each in by_name.items()}
        return {**values, "threshold": threshold}

    def _scores(self, answers: Sequence[Mapping[str, Any]], references: Sequence[RightAnswers]) -> Scores:
        """Compare answers with the right ones."""
        texts = [text_of(right.context, answer) for answer, right in zip(answers, references, strict=True)]
        return Scores.of(texts, [right.texts for right in references], unanswerable=self.settings.unanswerable)

    def tuned(self, answers: Sequence[Mapping[str, Any]], references: Sequence[Any]) -> dict[str, Any]:
        """Return the threshold that is best for the held-out examples."""
        if not self.settings.unanswerable or self.settings.threshold is not None:
            return {}
        return {"threshold": self._threshold(answers, references)}

    def _threshold(self, predictions: Sequence[Mapping[str, Any]], references: Sequence[RightAnswers]) -> float | None:
        """Return the threshold of the settings, or that which is best for some examples by the first metric; None if every
        question has an answer."""
        if not self.settings.unanswerable or self.settings.threshold is not None:
            return self.settings.threshold
        pairs = [(each, right) for each, right in zip(predictions, references, strict=True) if each["answers"]]
        rights = [right for _, right in pairs]
        kept, silent = (
            getattr(self._scores([chosen(each, threshold) for each, _ in pairs], rights), self.settings.metrics[0])
            for threshold in (None, -math.inf)
        )
        return best_threshold(kept, silent, np.array([difference(each) for each, _ in pairs], np.float64))

    @property
    def _used(self) -> float | None:
        """The threshold of answers that are given; None if every question has one."""
        return (self.settings.threshold or 0.0) if self.settings.unanswerable else None

    def _values(self, context: str, candidates: Mapping[str, Any]) -> dict[str, Any]:
        """Return the answer to a question: its text, its characters in the context, its score and its probability."""
        answer = chosen(candidates, self._used)
        without = {"no_answer_score": candidates["no_answer_score"]} if self.settings.unanswerable else {}
        return {"answer": text_of(context, answer), **answer, **without}

    def written(self, example: Example[Any], answer: Mapping[str, Any]) -> dict[str, Any]:
        context = example.texts[1]
        values = self._values(context, answer)
        return {"prediction": values.pop("answer"), **values, "n_best": listed(context, answer, self.settings.n_best)}

    def read_out(self, text: str, ids: NDArray[np.int64], answer: Mapping[str, Any], tokenizer: Tokenizer) -> Answer:
        question, context = self.reader.question(text).texts
        values, best = self._values(context, answer), listed(context, answer, self._shown)
        shown = [values] if self._shown == 1 else best
        columns = dict(zip(self.settings.text, (question, context), strict=True))
        lines = ["\t".join([*cells(one), question]) for one in shown]
        return Answer({**columns, **values, **({} if self._shown == 1 else {"n_best": best})}, lines)

    def appended(self, answer: Answer) -> dict[str, Any]:
        """Return ``prediction`` and what goes with it: ``answer`` may be a column of the right ones."""
        values = super().appended(answer)
        return {"prediction": values.pop("answer"), **values}

    def review(self, examples: Examples, answers: Sequence[Mapping[str, Any]]) -> Review:
        rights = [example.reference for example in examples.splits["validation"] if example.reference is not None]
        given = [text_of(right.context, chosen(each, self._used)) for each, right in zip(answers, rights, strict=True)]
        return Review(collapsed=all_alike(given, [tuple(right.texts) for right in rights]))

    def closing(
        self, examples: Examples, answers: Sequence[Mapping[str, Any]], best: float | None
    ) -> Sequence[Demonstration | str]:
        """Show the surest wrong answers, the threshold, and the baseline: the sentence with most of the question's words."""
        held_out: Sequence[Example[RightAnswers]] = examples.splits["validation"]
        rights = [example.reference for example in held_out if example.reference is not None]
        given, measure = [chosen(each, self._used) for each in answers], self.program.selection.measure
        f1 = self._scores(given, rights).f1
        wrong = sorted(np.flatnonzero(f1 == 0).tolist(), key=lambda number: -given[number]["probability"])[:_WORST]
        rows = [
            [
                shortened(held_out[number].texts[0]),
                shortened(" | ".join(dict.fromkeys(rights[number].texts)) or NONE),
                shortened(text_of(rights[number].context, given[number]) or NONE),
                f"{given[number]['probability']:.1%}",
            ]
            for number in wrong
        ]
        parts: list[Demonstration | str] = []
        if rows:
            title = "held-out questions with the surest answers that have no right word"
            parts.append(Demonstration(title, ("question", "expected", "answer", "probability"), rows))
        texts = [right.texts for right in rights]
        if self.settings.unanswerable:
            silent = Scores.of([""] * len(rights), texts, unanswerable=True)
            beside = f"no answer to any question alone has {measure} {_mean(getattr(silent, measure)):.4f}"
            parts.append(f"there is no answer above task.threshold={self._used:.4f}; {beside}")
        if best is not None:
            sentences = [likely_sentence(*example.texts) for example in held_out]
            plain = Scores.of(sentences, texts, unanswerable=self.settings.unanswerable)
            beside = f"the sentence with most of the question's words alone has {_mean(getattr(plain, measure)):.4f}"
            parts.append(f"best validation {measure} {best:.4f}; {beside}")
        return parts


def _some(batch: Batch, first: int, inputs: Inputs) -> Batch:
    """Return the part of a batch with some of its inputs; its other tensors all have a row for each sample."""
    return replace(batch.map(lambda tensor: tensor[first : first + len(inputs.ids)]), inputs=inputs)


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean()) if len(values) else math.nan
