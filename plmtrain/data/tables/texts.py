"""The base of readers for tasks with one answer for a text or a pair of texts."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, TypeVar

from plmtrain.data.tables.inner import with_inner
from plmtrain.data.tables.reader import Example, Reader, ReferenceT
from plmtrain.data.tables.table_files import Row
from plmtrain.errors import DataError
from plmtrain.json_files import DamagedJson, parse
from plmtrain.settings.tasks.base import TextTaskSettings

TextTaskT = TypeVar("TextTaskT", bound=TextTaskSettings)


class TextReader(Reader[TextTaskT, ReferenceT]):
    """Reads one text or two from the columns of ``task.text``, and the answer from another column."""

    @property
    def columns(self) -> Mapping[str, str]:
        return {**self.question_columns, **self.answer_columns}

    @property
    def question_columns(self) -> Mapping[str, str]:
        return dict.fromkeys(self.task.text, "task.text")

    @property
    @abstractmethod
    def answer_columns(self) -> Mapping[str, str]:
        """The column of the right answer, with the setting that names it."""

    @abstractmethod
    def answer(self, row: Row) -> ReferenceT:
        """Read the right answer from a row.

        Raises:
            DataError: naming file and line, if the cell cannot be used.
        """

    def example(self, row: Row) -> Example[ReferenceT]:
        reference = self.answer(row)
        return Example(self.texts_of(row), reference)

    def texts_of(self, row: Row) -> tuple[str, ...]:
        """Read the text or the two texts of a row.

        Raises:
            DataError: naming file and line, if a cell cannot be used.
        """
        return tuple(row.text(column) for column in self.task.text)

    def question(self, text: str) -> Example[ReferenceT]:
        names, shown = self.task.text, f"'{text[:60]}'"
        as_json = ", ".join(f'"{name}": "..."' for name in self.question_columns)
        if (given := as_object(text)) is not None:
            cells = with_inner(given, self.question_columns)
            if missing := [name for name in self.question_columns if name not in cells]:
                what = f"there is no '{missing[0]}' in this JSON object; it has: {', '.join(cells) or 'nothing'}"
                raise DataError(what, shown, f"write {{{as_json}}}")
            return Example(self.texts_of(Row(shown, cells)), None)
        parts = tuple(text.split("\t")) if len(names) > 1 else (text,)
        if len(parts) != len(names):
            tab, what = " TAB ".join(name.upper() for name in names), f"a pair of texts was expected, and this has {len(parts)}"
            raise DataError(what, shown, f"write {tab}, or {{{as_json}}}")
        return Example(parts, None)

    def content(self, example: Example[ReferenceT]) -> tuple[str, ...]:
        return (*example.texts, str(example.reference))

    def line(self, example: Example[ReferenceT]) -> dict[str, Any]:
        return {**dict(zip(self.task.text, example.texts, strict=True)), "expected": example.reference}


def as_object(text: str) -> Mapping[str, Any] | None:
    """Return the JSON object that a line is; None for every other text."""
    if not text.lstrip().startswith("{"):
        return None
    try:
        value = parse(text)
    except DamagedJson:
        return None
    return value if isinstance(value, dict) else None
