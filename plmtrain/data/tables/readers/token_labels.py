"""Reading texts with a label for each word."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

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

    noun = "labels"

    def __init__(self, task: TokenLabelsSettings) -> None:
        super().__init__(task)
        self._numbers = {label: number for number, label in enumerate(task.labels)}

    @property
    def columns(self) -> Mapping[str, str]:
        return {self.task.text: "task.text", self.task.label: "task.label"}

    def example(self, row: Row) -> Example[Tags]:
        words, tags = row.words(self.task.text), row.words(self.task.label)
        if len(words) != len(tags):
            what = f"there are {len(words)} words in '{self.task.text}', and {len(tags)} labels in '{self.task.label}'"
            raise DataError(what, row.where, SKIP)
        if not words:
            raise DataError("there is no word in this text", row.where, SKIP)
        if self._numbers and (strange := next((tag for tag in tags if tag not in self._numbers), None)) is not None:
            raise unknown(strange, self.task.labels, row.where)
        return Example(words, tags)

    def question(self, text: str) -> Example[Tags]:
        """Read a line: words with white space between them, or a JSON object with the column of the words."""
        if (cells := as_object(text)) is not None:
            if self.task.text not in cells:
                what = f"there is no '{self.task.text}' in this JSON object; it has: {', '.join(cells) or 'nothing'}"
                raise DataError(what, f"'{text[:60]}'", f'write {{"{self.task.text}": ["...", "..."]}}')
            words = Row(f"'{text[:60]}'", cells).words(self.task.text)
        else:
            words = tuple(text.split())
        if not words:
            raise DataError("there is no word in this text", f"'{text[:60]}'", "give a text")
        return Example(words, None)

    def content(self, example: Example[Tags]) -> tuple[str, ...]:
        return (json.dumps(example.texts, ensure_ascii=False), json.dumps(example.reference, ensure_ascii=False))

    def vocabulary_texts(self, example: Example[Tags]) -> tuple[str, ...]:
        return (" ".join(example.texts),)

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
        require_several(self.task.labels, f"task.label={self.task.label}")

    def encode(self, examples: Sequence[Example[Tags]], tokenizer: Tokenizer) -> TaggedTexts:
        references = [example.reference for example in examples if example.reference is not None]
        known = references if len(references) == len(examples) else None
        return TaggedTexts.encode([example.texts for example in examples], known, self._numbers, tokenizer, self.task.overlap)

    def opening(self, splits: Splits) -> str:
        return listed(self.task.labels, _counts(splits["train"]))

    def facts(self, splits: Splits) -> dict[str, Any]:
        return {"labels": list(self.task.labels)}

    def findings(self, splits: Splits) -> list[Finding]:
        train, held_out = (_counts(splits[split]) for split in ("train", "validation"))
        return rare(self.task.labels, train, held_out, f"task.label={self.task.label}")

    def line(self, example: Example[Tags]) -> dict[str, Any]:
        return {self.task.text: list(example.texts), "expected": list(example.reference or ())}


def _counts(examples: Sequence[Example[Tags]]) -> Counter[str]:
    return Counter(tag for example in examples for tag in example.reference or ())
