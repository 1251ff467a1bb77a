"""The base of readers for tasks whose answers are numbers: that of a label, or a score."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from plmtrain.data.tables import composed
from plmtrain.data.tables.examples import EncodedTexts, Texts
from plmtrain.data.tables.reader import Example, Finding, ReferenceT
from plmtrain.data.tables.texts import TextReader
from plmtrain.settings.tasks.base import SentenceTaskSettings

if TYPE_CHECKING:
    from plmtrain.data.tables.examples import Encoded
    from plmtrain.data.tables.labelled import Splits
    from plmtrain.data.tables.table_files import Row
    from plmtrain.text.tokenizer import Tokenizer

SentenceTaskT = TypeVar("SentenceTaskT", bound=SentenceTaskSettings)


class SentenceReader(TextReader[SentenceTaskT, ReferenceT]):
    """Reads the answer from the column of ``task.label``."""

    @classmethod
    def is_for(cls, task: SentenceTaskT) -> bool:
        return task.has_head

    @property
    def question_columns(self) -> Mapping[str, str]:
        return composed.columns_of(self.task)

    def texts_of(self, row: Row) -> tuple[str, ...]:
        return composed.texts_of(row, self.task)

    @property
    def answer_columns(self) -> Mapping[str, str]:
        return {self.task.label: "task.label"}

    def findings(self, splits: Splits) -> list[Finding]:
        return composed.findings([example.texts for examples in splits.values() for example in examples], self.task)

    @abstractmethod
    def number(self, reference: ReferenceT) -> float | Sequence[float]:
        """Return the number that stands for a right answer in the loss, or the numbers."""

    numbers: type[np.int64] | type[np.float64] | type[np.float32]
    """The type of these numbers."""

    @property
    def encoding(self) -> type[EncodedTexts]:
        """How the texts become rows."""
        return EncodedTexts

    def encode(self, examples: Sequence[Example[ReferenceT]], tokenizer: Tokenizer) -> Encoded:
        columns = zip(*(example.texts for example in examples), strict=True)
        references = [example.reference for example in examples if example.reference is not None]
        return self.encoding(
            texts=tuple(Texts.encode(column, tokenizer) for column in columns),
            targets=self._targets(references) if len(references) == len(examples) else None,
            references=references,
        )

    def _targets(self, references: Sequence[ReferenceT]) -> NDArray[Any]:
        return np.array([self.number(reference) for reference in references], self.numbers)
