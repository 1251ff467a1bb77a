"""The base of readers for tasks with one answer for a text or a pair of texts."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from plmtrain.data.tables.examples import EncodedTexts, Texts
from plmtrain.data.tables.reader import Example, Reader, ReferenceT
from plmtrain.data.tables.table_files import Row
from plmtrain.errors import DataError
from plmtrain.json_files import DamagedJson, parse
from plmtrain.settings.tasks.base import SentenceTaskSettings

if TYPE_CHECKING:
    from plmtrain.text.tokenizer import Tokenizer

SentenceTaskT = TypeVar("SentenceTaskT", bound=SentenceTaskSettings)


class SentenceReader(Reader[SentenceTaskT, ReferenceT]):
    """Reads one text or two from the columns of ``task.text``, and the answer from that of ``task.label``."""

    @property
    def columns(self) -> Mapping[str, str]:
        return {**dict.fromkeys(self.task.text, "task.text"), self.task.label: "task.label"}

    @abstractmethod
    def answer(self, row: Row) -> ReferenceT:
        """Read the right answer from a row.

        Raises:
            DataError: naming file and line, if the cell cannot be used.
        """

    @abstractmethod
    def number(self, reference: ReferenceT) -> float:
        """Return the number that stands for a right answer in the loss."""

    numbers: type[np.int64] | type[np.float64]
    """The type of these numbers."""

    def example(self, row: Row) -> Example[ReferenceT]:
        reference = self.answer(row)
        return Example(tuple(row.text(column) for column in self.task.text), reference)

    def question(self, text: str) -> Example[ReferenceT]:
        names, shown = self.task.text, f"'{text[:60]}'"
        as_json = ", ".join(f'"{name}": "..."' for name in names)
        if (cells := _object(text)) is not None:
            if missing := [name for name in names if name not in cells]:
                what = f"there is no '{missing[0]}' in this JSON object; it has: {', '.join(cells) or 'nothing'}"
                raise DataError(what, shown, f"write {{{as_json}}}")
            row = Row(shown, cells)
            return Example(tuple(row.text(name) for name in names), None)
        parts = tuple(text.split("\t")) if len(names) > 1 else (text,)
        if len(parts) != len(names):
            tab, what = " TAB ".join(name.upper() for name in names), f"a pair of texts was expected, and this has {len(parts)}"
            raise DataError(what, shown, f"write {tab}, or {{{as_json}}}")
        return Example(parts, None)

    def content(self, example: Example[ReferenceT]) -> tuple[str, ...]:
        return (*example.texts, str(example.reference))

    def encode(self, examples: Sequence[Example[ReferenceT]], tokenizer: Tokenizer) -> EncodedTexts:
        columns = zip(*(example.texts for example in examples), strict=True)
        references = [example.reference for example in examples if example.reference is not None]
        return EncodedTexts(
            texts=tuple(Texts.encode(column, tokenizer) for column in columns),
            targets=self._targets(references) if len(references) == len(examples) else None,
            references=references,
        )

    def _targets(self, references: Sequence[ReferenceT]) -> NDArray[Any]:
        return np.array([self.number(reference) for reference in references], self.numbers)

    def line(self, example: Example[ReferenceT]) -> dict[str, Any]:
        return {**dict(zip(self.task.text, example.texts, strict=True)), "expected": example.reference}


def _object(text: str) -> Mapping[str, Any] | None:
    """Return the JSON object that a line is; None for every other text."""
    if not text.lstrip().startswith("{"):
        return None
    try:
        value = parse(text)
    except DamagedJson:
        return None
    return value if isinstance(value, dict) else None
