"""The base of tasks with one answer for a text or a pair of texts.

The tasks themselves, with a label or a score as the answer, are in ``plmtrain.tasks``.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from plmtrain.data.rows.row_formats import RowFormat
from plmtrain.data.tables.examples import in_both_orders
from plmtrain.programs.answering import Answer
from plmtrain.programs.row_tasks import RowAnswering, RowProgram
from plmtrain.settings.tasks.base import SentenceTaskSettings

if TYPE_CHECKING:
    from torch import Tensor

    from plmtrain.batch import Batch
    from plmtrain.data.rows.rows import Rows
    from plmtrain.text.tokenizer import Tokenizer

SentenceTaskT = TypeVar("SentenceTaskT", bound=SentenceTaskSettings)


class SentenceProgram(RowProgram[SentenceTaskT]):
    """A task whose rows are texts or pairs; subclasses define the answer. Arguments as for ``RowProgram``."""

    @classmethod
    def is_for(cls, settings: SentenceTaskT) -> bool:
        return settings.has_head

    @cached_property
    def format(self) -> RowFormat:
        return RowFormat.of(self.model.family, len(self.settings.text))

    @property
    def reads_both_orders(self) -> bool:
        return self.settings.symmetric

    def rows_of(self, rows: Rows) -> tuple[Rows, Mapping[str, Tensor]]:
        """Return the texts as they are; pairs without an order in both orders, one after the other."""
        return (in_both_orders(rows) if self.settings.symmetric else rows), {}

    @abstractmethod
    def worded(self, target: Any) -> str:
        """Return a right answer, given as its number, in words."""

    def titles(self, batch: Batch) -> Sequence[str]:
        return [self.worded(target) for target in batch.targets[self.targets].tolist()] * (2 if self.settings.symmetric else 1)


class SentenceAnswering(RowAnswering[SentenceTaskT]):
    """Answers questions about texts or pairs; subclasses define the answer."""

    @abstractmethod
    def cells(self, answer: Mapping[str, Any]) -> list[str]:
        """Return the cells of an answer in the line that ``plmtrain predict`` prints."""

    def read_out(self, text: str, ids: NDArray[np.int64], answer: Mapping[str, Any], tokenizer: Tokenizer) -> Answer:
        columns = dict(zip(self.settings.text, self.reader.question(text).texts, strict=True))
        values = {key: value for key, value in answer.items() if key != "sample"}
        return Answer({**columns, **values}, ["\t".join([*self.cells(answer), *columns.values()])])
