"""One of several texts: each is read in its context, and the head's score says how well it fits (Radford et al. 2018, section
3.3; Devlin et al. 2019, section 4.4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from plmtrain.batch import Batch, Term
from plmtrain.data.rows.row_formats import RowFormat
from plmtrain.data.tables.choices import ChoiceRows
from plmtrain.data.tables.readers.multiple_choice import MultipleChoiceReader
from plmtrain.nn.groups import grouped, table_of
from plmtrain.nn.loss import cross_entropy_sum
from plmtrain.nn.task_heads import ChoiceHead, LinearChoiceHead, RowHead, choice_head
from plmtrain.programs.answer_tables import shortened
from plmtrain.programs.answering import Answer, Demonstration
from plmtrain.programs.program import Selection
from plmtrain.programs.review import Review, all_alike
from plmtrain.programs.row_tasks import RowAnswering, RowProgram
from plmtrain.settings.tasks.multiple_choice import MultipleChoiceSettings

if TYPE_CHECKING:
    from plmtrain.data.rows.rows import Rows
    from plmtrain.data.tables.labelled import Examples
    from plmtrain.text.tokenizer import Tokenizer

_WORST = 5
"""The number of examples in the table of the most confident wrong answers."""


class MultipleChoice(RowProgram[MultipleChoiceSettings]):
    """Choose one of several texts; arguments as for every ``RowProgram``.

    The scores of an example's choices are the logits of a softmax over them, however many there are.
    """

    terms = ("multiple_choice",)
    unit = "nats an example"
    targets = "right"
    outputs = 1

    @classmethod
    def of_heads(cls, heads: Set[type[nn.Module]], labels: tuple[str, ...]) -> MultipleChoiceSettings | None:
        return MultipleChoiceSettings(name="multiple_choice") if heads & {ChoiceHead, LinearChoiceHead} else None

    @cached_property
    def format(self) -> RowFormat:
        return RowFormat.of(self.model.family, self.settings.texts_in_row)

    @property
    def selection(self) -> Selection:
        return Selection(self.settings.metrics[0], higher=True, decides=True)

    def head(self) -> RowHead:
        return choice_head(self.model, self.settings.dropout)

    def rows_of(self, rows: Rows) -> tuple[Rows, Mapping[str, Tensor]]:
        """Return a row for each choice; ``choices`` are the rows of each example, -1 where it has fewer than others."""
        assert isinstance(rows, ChoiceRows)
        each = rows.each(self.row_shape(self.sequence_length).length)
        return each, {"choices": torch.from_numpy(table_of(rows.counts))}

    @staticmethod
    def logits(scores: Tensor, batch: Batch) -> Tensor:
        """Return the scores of the choices of each example beside each other, minus infinity where there is no choice.

        Args:
            scores: [rows, 1] of the head.
            batch: says whose the rows are.

        Returns:
            [examples, most choices].
        """
        return grouped(scores, batch.targets["choices"], -torch.inf).squeeze(-1)

    def answer_term(self, scores: Tensor, batch: Batch, *, training: bool) -> Term:
        logits, right = self.logits(scores, batch), batch.targets["right"]
        count = batch.normalisers["multiple_choice"]
        counts = {}
        if not training:
            hits = (logits.argmax(-1) == right).sum()
            counts["answers"] = torch.stack([hits, torch.full_like(hits, len(right))])
        return Term(total=cross_entropy_sum(logits, right), normaliser=count, counts=counts)

    def measures(self, counts: Mapping[str, NDArray[np.float64]], unigram: NDArray[np.float64] | None) -> dict[str, float]:
        """Compute the accuracy from the number of right answers and of examples."""
        hits, examples = counts["multiple_choice/answers"]
        return {"accuracy": float(hits / examples) if examples else 0.0}

    @cached_property
    def answering(self) -> Choosing:
        return Choosing(self)

    def titles(self, batch: Batch) -> Sequence[str]:
        places = (batch.targets["choices"] >= 0).nonzero().tolist()
        right = batch.targets["right"].tolist()
        return [f"choice {choice}{', right' if right[example] == choice else ''}" for example, choice in places]


class Choosing(RowAnswering[MultipleChoiceSettings]):
    """Choose between texts."""

    reader: MultipleChoiceReader
    program: MultipleChoice

    def answers(self, scores: Tensor, batch: Batch) -> list[dict[str, Any]]:
        """Return for each example the index of the best ``choice``, and the ``probabilities`` of all in order."""
        shares = self.program.logits(scores, batch).softmax(dim=-1).tolist()
        counts = (batch.targets["choices"] >= 0).sum(dim=1).tolist()
        return [
            {"choice": int(np.argmax(row[:count])), "probabilities": row[:count]}
            for row, count in zip(shares, counts, strict=True)
        ]

    def read_out(self, text: str, ids: NDArray[np.int64], answer: Mapping[str, Any], tokenizer: Tokenizer) -> Answer:
        example = self.reader.question(text)
        chosen = self.reader.choices_of(example)[answer["choice"]]
        values = {"choice": answer["choice"], "answer": chosen, "probabilities": answer["probabilities"]}
        share = answer["probabilities"][answer["choice"]]
        return Answer({**self.reader.cells(example), **values}, [f"{answer['choice']}\t{share:.1%}\t{chosen}"])

    def appended(self, answer: Answer) -> dict[str, Any]:
        """Return ``prediction``, the index of the choice, its text, and the probabilities of all in order."""
        values = answer.values
        return {"prediction": values["choice"], "answer": values["answer"], "probabilities": values["probabilities"]}

    def review(self, examples: Examples, answers: Sequence[Mapping[str, Any]]) -> Review:
        expected = [example.reference for example in examples.splits["validation"]]
        return Review(collapsed=all_alike([answer["choice"] for answer in answers], expected))

    def closing(
        self, examples: Examples, answers: Sequence[Mapping[str, Any]], best: float | None
    ) -> Sequence[Demonstration | str]:
        """Show the answers by the place of the right choice, the most confident wrong ones, and two baselines."""
        held_out = examples.splits["validation"]
        counts = [len(self.reader.choices_of(example)) for example in held_out]
        right = [example.reference for example in held_out]
        given = [answer["choice"] for answer in answers]
        rows = []
        for place in range(max(counts)):
            own = [choice == place for choice, expected in zip(given, right, strict=True) if expected == place]
            share = f"{sum(own) / len(own):.1%}" if own else ""
            rows.append([f"choice {place}", f"{len(own):,}", f"{given.count(place):,}", share])
        title = "held-out examples by the place of the right choice"
        parts: list[Demonstration | str] = [Demonstration(title, ["choice", "right", "chosen", "of them chosen"], rows)]
        if (worst := self._worst(held_out, answers)) is not None:
            parts.append(worst)
        if best is not None:
            chance = sum(1 / count for count in counts) / len(counts)
            usual = max(map(right.count, set(right))) / len(right)
            measured = f"best validation {self.program.selection.measure} {best:.4f}"
            parts.append(f"{measured}; a choice at random is right in {chance:.1%}, the commonest place alone in {usual:.1%}")
        return parts

    def _worst(self, held_out: Sequence[Any], answers: Sequence[Mapping[str, Any]]) -> Demonstration | None:
        """List the wrong answers that were given with the most confidence; None without a wrong one."""
        wrong = [
            (answer["probabilities"][answer["choice"]], example, answer["choice"])
            for example, answer in zip(held_out, answers, strict=True)
            if answer["choice"] != example.reference
        ]
        rows = []
        for share, example, choice in sorted(wrong, key=lambda one: -one[0])[:_WORST]:
            choices = self.reader.choices_of(example)
            leading = "\n".join(map(shortened, example.texts[: len(self.settings.leading)]))
            rows.append([leading, shortened(choices[example.reference]), shortened(choices[choice]), f"{share:.1%}"])
        headings = ("context", "right", "chosen", "probability")
        return Demonstration("the most confident wrong answers", headings, rows) if rows else None
