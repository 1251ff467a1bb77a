"""One of several texts: each is read in its context, and the head's score says how well it fits (Radford et al. 2018, section
3.3; Devlin et al. 2019, section 4.4)."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
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
from plmtrain.data.tables.readers.multiple_choice import ChoiceReader
from plmtrain.metrics.answers import Scores
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

_LONGEST_TABLE = 20
"""The most places in a table with a row for each."""
_WORST = 5
"""The number of examples in the table of the most confident wrong answers."""


class ChoiceProgram(RowProgram[MultipleChoiceSettings]):
    """Choose one of several texts; subclasses say which are right. Arguments as for every ``RowProgram``.

    The scores of an example's choices are the logits of a softmax over them, however many there are.
    """

    terms = ("multiple_choice",)
    unit = "nats an example"
    targets = "right"
    outputs = 1

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

    @abstractmethod
    def is_right(self, batch: Batch) -> Tensor:
        """Return whether each choice is right.  # [examples, most choices]"""

    def titles(self, batch: Batch) -> Sequence[str]:
        right = self.is_right(batch).tolist()
        places = (batch.targets["choices"] >= 0).nonzero().tolist()
        return [f"choice {choice}{', right' if right[example][choice] else ''}" for example, choice in places]


class MultipleChoice(ChoiceProgram):
    """Choose the one right text."""

    @classmethod
    def is_for(cls, settings: MultipleChoiceSettings) -> bool:
        return not settings.several_right

    @classmethod
    def of_heads(cls, heads: Set[type[nn.Module]], labels: tuple[str, ...]) -> MultipleChoiceSettings | None:
        return MultipleChoiceSettings(name="multiple_choice") if heads & {ChoiceHead, LinearChoiceHead} else None

    def is_right(self, batch: Batch) -> Tensor:
        right = batch.targets["right"]
        return torch.arange(batch.targets["choices"].shape[1], device=right.device) == right[:, None]

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


class SeveralRight(ChoiceProgram):
    """Choose a text that is right, where several may be.

    The loss is minus the logarithm of the probability of all right choices together (Clark and Gardner 2018, section 2.2); of a
    held-out example without a right one it is 0, and the answer is scored.
    """

    @classmethod
    def is_for(cls, settings: MultipleChoiceSettings) -> bool:
        return settings.several_right

    def is_right(self, batch: Batch) -> Tensor:
        return batch.targets["right"][:, : batch.targets["choices"].shape[1]]

    def answer_term(self, scores: Tensor, batch: Batch, *, training: bool) -> Term:
        logits = self.logits(scores, batch).float()
        is_right = self.is_right(batch)
        losses = logits.logsumexp(-1) - logits.masked_fill(~is_right, -torch.inf).logsumexp(-1)
        total = torch.where(is_right.any(-1), losses, 0.0).sum()
        return Term(total=total, normaliser=batch.normalisers["multiple_choice"])

    @cached_property
    def answering(self) -> ChoosingOne:
        return ChoosingOne(self)


class Choosing(RowAnswering[MultipleChoiceSettings]):
    """Choose between texts."""

    reader: ChoiceReader[Any]
    program: ChoiceProgram

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
        expected = self._right(examples.splits["validation"])
        return Review(collapsed=all_alike([(answer["choice"],) for answer in answers], expected))

    def _right(self, held_out: Sequence[Any]) -> list[tuple[int, ...]]:
        """Return the right choices of each example."""
        return [self.reader.numbers_of(example.reference) for example in held_out]

    def closing(
        self, examples: Examples, answers: Sequence[Mapping[str, Any]], best: float | None
    ) -> Sequence[Demonstration | str]:
        """Show the answers by the place of the right choice, the most confident wrong ones, and two baselines."""
        held_out = examples.splits["validation"]
        counts = [len(self.reader.choices_of(example)) for example in held_out]
        right = self._right(held_out)
        given = [answer["choice"] for answer in answers]
        rows = []
        for place in range(min(max(counts), _LONGEST_TABLE)):
            own = [choice == place for choice, expected in zip(given, right, strict=True) if place in expected]
            share = f"{sum(own) / len(own):.1%}" if own else ""
            rows.append([f"choice {place}", f"{len(own):,}", f"{given.count(place):,}", share])
        title = "held-out examples by the place of the right choice"
        parts: list[Demonstration | str] = [Demonstration(title, ["choice", "right", "chosen", "of them chosen"], rows)]
        if (worst := self._worst(held_out, answers)) is not None:
            parts.append(worst)
        if best is not None:
            chance = sum(len(own) / count for own, count in zip(right, counts, strict=True)) / len(counts)
            places = Counter(place for own in right for place in own)
            usual = max(places.values(), default=0) / len(right)
            measured = f"best validation {self.program.selection.measure} {best:.4f}"
            parts.append(f"{measured}; a choice at random is right in {chance:.1%}, the commonest place alone in {usual:.1%}")
        return parts

    def _worst(self, held_out: Sequence[Any], answers: Sequence[Mapping[str, Any]]) -> Demonstration | None:
        """List the wrong answers that were given with the most confidence; None without a wrong one."""
        wrong = [
            (answer["probabilities"][answer["choice"]], example, answer["choice"])
            for example, answer in zip(held_out, answers, strict=True)
            if answer["choice"] not in self.reader.numbers_of(example.reference)
        ]
        rows = []
        for share, example, choice in sorted(wrong, key=lambda one: -one[0])[:_WORST]:
            choices = self.reader.choices_of(example)
            leading = "\n".join(map(shortened, example.texts[: len(self.settings.leading)]))
            right = ", ".join(choices[number] for number in self.reader.numbers_of(example.reference))
            rows.append([leading, shortened(right), shortened(choices[choice]), f"{share:.1%}"])
        headings = ("context", "right", "chosen", "probability")
        return Demonstration("the most confident wrong answers", headings, rows) if rows else None


class ChoosingOne(Choosing):
    """Choose between texts of which several may be right."""

    @property
    def scored(self) -> tuple[str, ...]:
        return self.settings.metrics

    def score(self, predictions: Sequence[Mapping[str, Any]], references: Sequence[Any]) -> dict[str, float]:
        """Compute the metrics of ReCoRD: exact match and F1 of the words of the chosen text, the best over the right answers
        (Zhang et al. 2018, section 5)."""
        given = [right.choices[answer["choice"]] for answer, right in zip(predictions, references, strict=True)]
        scores = Scores.of(given, [right.texts for right in references], unanswerable=False)
        values = {"f1": scores.f1, "exact_match": scores.exact_match}
        return {name: float(np.mean(values[name])) if given else 0.0 for name in self.scored}
