"""The base of tasks that read texts longer than a row in windows, whose scores are joined to those of the text."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from plmtrain.batch import Batch, Inputs
from plmtrain.data.rows.windows import in_windows
from plmtrain.nn.groups import grouped, table_of
from plmtrain.programs.sentences import SentenceAnswering, SentenceProgram
from plmtrain.settings.base import MOST_PLACES
from plmtrain.settings.tasks.classification import ClassificationSettings

if TYPE_CHECKING:
    from plmtrain.data.rows.rows import Rows
    from plmtrain.programs.row_tasks import RowLearner


class WindowedProgram(SentenceProgram[ClassificationSettings]):
    """A task whose texts may be read in windows; arguments as for every ``SentenceProgram``.

    The loss is that of a text: of the mean or the maximum of the logits of its windows, in training and in prediction alike.
    """

    def rows_of(self, rows: Rows) -> tuple[Rows, Mapping[str, Tensor]]:
        """Return a row for each window; ``windows`` are the rows of each text, -1 where it has fewer than others."""
        if self.settings.windows is None:
            return super().rows_of(rows)
        most = self.row_shape(self.sequence_length).length
        each, counts = in_windows(rows, most, self.settings.overlap)
        return each, {"windows": torch.from_numpy(table_of(counts))}

    def of_texts(self, scores: Tensor, batch: Batch) -> Tensor:
        """Return the scores of texts, given those of their windows.

        Args:
            scores: [rows, outputs] of the head.
            batch: says whose the rows are.

        Returns:
            [texts, outputs].
        """
        if self.settings.windows is None:
            return scores
        table = batch.targets["windows"]
        if self.settings.windows == "maximum":
            return grouped(scores, table, -torch.inf).amax(dim=1)
        return grouped(scores, table, 0.0).sum(dim=1) / (table >= 0).sum(dim=1, keepdim=True)

    def titles(self, batch: Batch) -> Sequence[str]:
        titles = super().titles(batch)
        if self.settings.windows is None:
            return titles
        return [titles[text] for text in (batch.targets["windows"] >= 0).nonzero()[:, 0].tolist()]


class WindowedAnswering(SentenceAnswering[ClassificationSettings]):
    """Answers questions about texts that may be read in windows; subclasses define the answer."""

    program: WindowedProgram

    def __init__(self, program: WindowedProgram) -> None:
        super().__init__(program)
        if program.settings.windows is not None:
            self.longest = MOST_PLACES

    @abstractmethod
    def of_texts(self, scores: Tensor) -> list[dict[str, Any]]:
        """Return a JSON-ready answer for each text.

        Args:
            scores: [texts, outputs] in fp32.
        """

    def scores(self, learner: RowLearner, inputs: Inputs) -> Tensor:
        """Return the outputs of the head, with memory for a part of the windows alone.  # [rows, outputs]"""
        if self.program.settings.windows is None:
            return super().scores(learner, inputs)
        return torch.cat([learner.scores(part) for _, part in inputs.in_parts()])

    def answers(self, scores: Tensor, batch: Batch) -> list[dict[str, Any]]:
        return self.of_texts(self.program.of_texts(scores, batch))
