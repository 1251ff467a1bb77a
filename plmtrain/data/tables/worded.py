"""The base of readers for tasks whose answers are written in words: a row is one text, and so is its right answer."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

from plmtrain.data.tables.answered import EncodedAnswers
from plmtrain.data.tables.reader import Example, Reader, ReferenceT
from plmtrain.settings.tasks.base import WordedTaskSettings

if TYPE_CHECKING:
    from plmtrain.text.tokenizer import Tokenizer

WordedTaskT = TypeVar("WordedTaskT", bound=WordedTaskSettings)


class WordedReader(Reader[WordedTaskT, ReferenceT]):
    """Fills the texts of an example into the template of the task, to be combined with the reader of its answers."""

    @classmethod
    def is_for(cls, task: WordedTaskT) -> bool:
        return not task.has_head

    @abstractmethod
    def word(self, reference: ReferenceT) -> str:
        """Return the text that is written for a right answer."""

    def row(self, example: Example[ReferenceT]) -> str:
        """Return the text that is read for an example."""
        return self.task.rows.filled(dict(zip(self.task.text, example.texts, strict=True)))

    def vocabulary_texts(self, example: Example[ReferenceT]) -> tuple[str, ...]:
        return (self.row(example), *(() if example.reference is None else (self.word(example.reference),)))

    def encode(self, examples: Sequence[Example[ReferenceT]], tokenizer: Tokenizer) -> EncodedAnswers:
        references = [example.reference for example in examples if example.reference is not None]
        words = [self.word(reference) for reference in references]
        return EncodedAnswers.encode([self.row(example) for example in examples], words, references, tokenizer)
