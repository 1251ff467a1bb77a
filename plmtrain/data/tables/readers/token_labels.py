"""Reading texts with a label for each word."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

from plmtrain.data.tables.inner import with_inner
from plmtrain.data.tables.labels import listed, rare, require_several, unknown
from plmtrain.data.tables.reader import Example, Finding, Reader
from plmtrain.data.tables.table_files import Row
from plmtrain.data.tables.tagged import TaggedTexts
from plmtrain.data.tables.texts import as_object
from plmtrain.errors import DataError
from plmtrain.settings.tasks.token_labels import TokenLabelsSettings
from plmtrain.text.readers import SKIP

if TYPE_CHECKING:
    from plmtrain.data.tables.labelled import Splits
    from plmtrain.text.tokenizer import Tokenizer

Tags = tuple[str, ...]


class TokenLabelsReader(Reader[TokenLabelsSettings, Tags]):
    """Reads the words of a text from the column of ``task.text``, and their labels from that of ``task.label``."""

    another = "other labels"

    def __init__(self, task: TokenLabelsSettings) -> None:
        super().__init__(task)
        self._numbers = {label: number for number, label in enumerate(task.labels)}

    @property
    def columns(self) -> Mapping[str, str]:
        return {self.task.text: "task.text", self.task.label: "task.label"}

    def example(self, row: Row) -> Example[Tags]:
        words, tags = self._units(row), row.words(self.task.label)
        if len(words) != len(tags):
            what = f"there are {len(words)} {self.task.unit} in '{self.task.text}', and {len(tags)} labels in '{self.task.label}'"
            raise DataError(what, row.where, SKIP)
        tags = tuple(tag for word, tag in zip(words, tags, strict=True) if not word.isspace())
        if not tags:
            raise DataError("there is no word in this text", row.where, SKIP)
        if self._numbers and (strange := next((tag for tag in tags if tag not in self._numbers), None)) is not None:
            raise unknown(strange, self.task.labels, row.where)
        return Example(words, tags)

    def _units(self, row: Row) -> tuple[str, ...]:
        """Return the words of a row, or its characters, white space included."""
        column = self.task.text
        return row.words(column) if self.task.unit == "words" else row.characters(column)

    def labelled(self, example: Example[Tags]) -> tuple[str, ...]:
        """Return the words or characters of an example that have a label."""
        return tuple(word for word in example.texts if not word.isspace())

    def question(self, text: str) -> Example[Tags]:
        """Read a line: words with white space between them, or a JSON object with the column of the words."""
        if (given := as_object(text)) is not None:
            cells = with_inner(given, self.question_columns)
            if self.task.text not in cells:
                what = f"there is no '{self.task.text}' in this JSON object; it has: {', '.join(cells) or 'nothing'}"
                raise DataError(what, f"'{text[:60]}'", f'write {{"{self.task.text}": ["...", "..."]}}')
            words = self._units(Row(f"'{text[:60]}'", cells))
        else:
            words = tuple(text.split() if self.task.unit == "words" else text)
        if not any(not word.isspace() for word in words):
            raise DataError("there is no word in this text", f"'{text[:60]}'", "give a text")
        return Example(words, None)

    def content(self, example: Example[Tags]) -> tuple[str, ...]:
        return (json.dumps(example.texts, ensure_ascii=False), json.dumps(example.reference, ensure_ascii=False))

    def lacks_text(self, example: Example[Tags]) -> bool:
        return False  # such a text is refused, and the white space between characters is one of its texts

    def vocabulary_texts(self, example: Example[Tags]) -> tuple[str, ...]:
        return (self._joined(example),)

    def _joined(self, example: Example[Tags]) -> str:
        return (" " if self.task.unit == "words" else "").join(example.texts)

    def informed(self, names: Mapping[str, Sequence[str]]) -> Self:
        return self if self.task.labels else self._with(names.get(self.task.label, ()))

    def settled(self, train: Sequence[Example[Tags]]) -> Self:
        return self if self.task.labels else self._with(sorted(_counts(train)))

    def _with(self, labels: Sequence[str]) -> Self:
        return type(self)(self.task.model_copy(update={"labels": tuple(labels)}))

    @property
    def numbering(self) -> tuple[str, ...]:
        return self.task.labels

    def judge(self, splits: Splits) -> None:
        setting = f"task.label={self.task.label}"
        require_several(self.task.labels, setting)
        if self.task.average != "micro" and not self.task.entities:
            what = (
                f"task.average={self.task.average} is of names, and not all labels are O or begin with B-, I-, E-, L-, S- or U-"
            )
            raise DataError(what, setting, "omit task.average")
        if self.task.strict and (
            other := [label for label in self.task.labels if label != "O" and label[:2] not in ("B-", "I-")]
        ):
            what = f"task.strict is of names marked by B- and I-, and there is a label '{other[0]}'"
            raise DataError(what, setting, "omit task.strict")

    def encode(self, examples: Sequence[Example[Tags]], tokenizer: Tokenizer) -> TaggedTexts:
        references = [example.reference for example in examples if example.reference is not None]
        known = references if len(references) == len(examples) else None
        if self.task.unit == "characters":
            texts = [self._joined(example) for example in examples]
            return TaggedTexts.of_characters(texts, known, self._numbers, tokenizer, self.task.overlap)
        return TaggedTexts.encode([example.texts for example in examples], known, self._numbers, tokenizer, self.task.overlap)

    def opening(self, splits: Splits) -> str:
        return listed(self.task.labels, _counts(splits["train"]))

    def facts(self, splits: Splits) -> dict[str, Any]:
        return {"labels": list(self.task.labels)}

    def findings(self, splits: Splits) -> list[Finding]:
        train, held_out = (_counts(splits[split]) for split in ("train", "validation"))
        return rare(self.task.labels, train, held_out, f"task.label={self.task.label}")

    def line(self, example: Example[Tags]) -> dict[str, Any]:
        return {self.task.text: self.shown(example), "expected": list(example.reference or ())}

    def shown(self, example: Example[Tags]) -> list[str] | str:
        """Return the text of an example as its column has it: a list of words, or characters as one text."""
        return list(example.texts) if self.task.unit == "words" else self._joined(example)


def _counts(examples: Sequence[Example[Tags]]) -> Counter[str]:
    return Counter(tag for example in examples for tag in example.reference or ())
