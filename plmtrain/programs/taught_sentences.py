"""The base of tasks with one answer for a text or a pair of texts that may learn the answers of a teacher."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from torch import Tensor

from plmtrain.batch import Batch, Term
from plmtrain.programs.row_tasks import RowLearner
from plmtrain.programs.sentences import SentenceProgram
from plmtrain.programs.taught_task import SOFT, TaughtTask, inputs_for

if TYPE_CHECKING:
    from plmtrain.data.rows.rows import Rows
    from plmtrain.keyed_random import Keys
    from plmtrain.programs.learner import Learner

SentenceTaskT = TypeVar("SentenceTaskT", bound=Any)


class TaughtSentences(SentenceProgram[SentenceTaskT], TaughtTask):
    """A ``SentenceProgram`` with a teacher where its settings say so; arguments as for that."""

    settings: SentenceTaskT

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        if self.is_taught:
            self.terms = (*self.terms, SOFT)
            self.keeps_segments = True

    @property
    def texts(self) -> int:
        return len(self.settings.text)

    @abstractmethod
    def soft_total(self, scores: Tensor, taught: Tensor, batch: Batch) -> Tensor:
        """Return the sum of the losses of the head's outputs against the teacher's.

        Args:
            scores, taught: [rows, outputs].
            batch: says whose the rows are.
        """

    def collate(self, rows: Rows, keys: Keys) -> Batch:
        batch = super().collate(rows, keys)
        answers = {SOFT: batch.normalisers[self.terms[0]]} if self.is_taught else {}
        return replace(batch, normalisers={**batch.normalisers, **answers})

    def lessons(self, teacher: Learner, batch: Batch) -> Mapping[str, Tensor]:
        assert isinstance(teacher, RowLearner)
        return {"scores": teacher.scores(inputs_for(teacher, batch))}

    def answer_terms(self, scores: Tensor, batch: Batch, *, training: bool) -> dict[str, Term]:
        terms = super().answer_terms(scores, batch, training=training)
        if not self.is_taught:
            return terms
        return self.with_soft(terms, self.soft_total(scores, batch.lessons["scores"], batch), batch)
