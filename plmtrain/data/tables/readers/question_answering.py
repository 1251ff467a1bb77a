"""Reading questions about texts, with answers that are parts of these texts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from plmtrain.data.tables.reader import Example, Finding
from plmtrain.data.tables.spans import EncodedQuestions, RightAnswers
from plmtrain.data.tables.table_files import FORMATS
from plmtrain.data.tables.texts import TextReader
from plmtrain.errors import DataError
from plmtrain.json_files import DamagedJson, parse
from plmtrain.settings.tasks.question_answering import QuestionAnsweringSettings
from plmtrain.text.json_objects import kind
from plmtrain.text.readers import SKIP, unusable

if TYPE_CHECKING:
    from plmtrain.data.tables.labelled import Splits
    from plmtrain.data.tables.table_files import Row
    from plmtrain.text.tokenizer import Tokenizer

_TEXT, _START = "text", "answer_start"
"""The keys of an answer."""
_WITHOUT = "is_impossible"
"""The column that says of a question that its context has no answer; there may be plausible ones all the same."""
_WANTED = f'{{"{_TEXT}": ["..."], "{_START}": [0]}}'
_SHORT = 40
"""The most characters of an answer in a message."""


class QuestionAnsweringReader(TextReader[QuestionAnsweringSettings, RightAnswers]):
    """Reads a question and its context from the columns of ``task.text``, and the answers from that of ``task.label``."""

    another = "another answer"
    endings: ClassVar[Mapping[str, str]] = {**FORMATS, ".json": "squad"}

    @property
    def answer_columns(self) -> Mapping[str, str]:
        return {self.task.label: "task.label"}

    def example(self, row: Row) -> Example[RightAnswers]:
        for column in self.task.text:
            if not row.text(column).strip():
                raise DataError(f"column '{column}' is empty", row.where, SKIP)
        return super().example(row)

    def answer(self, row: Row) -> RightAnswers:
        context, name = row.text(self.task.text[1]), row.cells.get("id", row.cells.get("guid"))
        given = [] if row.cells.get(_WITHOUT) is True else _pairs(row.cells[self.task.label], self.task.label, row.where)
        for text, start in given:
            _require_within(context, text, start, row.where)
        if not given and not self.task.unanswerable:
            remedy = f"write task.unanswerable=true for questions without an answer; {SKIP}"
            raise DataError("this question has no answer", row.where, remedy)
        texts, starts = tuple(text for text, _ in given), tuple(start for _, start in given)
        return RightAnswers(context, texts, starts, name if isinstance(name, str) else None)

    def content(self, example: Example[RightAnswers]) -> tuple[str, ...]:
        right = example.reference
        assert right is not None
        return (*example.texts, json.dumps([right.texts, right.starts], ensure_ascii=False))

    def kin(self, example: Example[RightAnswers]) -> tuple[str, ...]:
        """Return the context: all questions about one are on the same side."""
        return example.texts[1:2]

    def encode(self, examples: Sequence[Example[RightAnswers]], tokenizer: Tokenizer) -> EncodedQuestions:
        references = _rights(examples)
        return EncodedQuestions.encode(
            [example.texts for example in examples],
            references if len(references) == len(examples) else None,
            tokenizer,
            self.task.stride,
            self.task.question_length,
        )

    def opening(self, splits: Splits) -> str:
        rights = _rights(splits["train"])
        words = np.array([len(right.texts[0].split()) for right in rights if right.texts] or [0])
        without = f"; {sum(not right.texts for right in rights) / len(rights):.1%} of the questions have none"
        contexts = len({right.context for right in rights})
        return (
            f"answers: {words.mean():.1f} words on average, {words.max():,} at most"
            f"{without if self.task.unanswerable else ''}; {contexts:,} different contexts"
        )

    def facts(self, splits: Splits) -> dict[str, Any]:
        return {
            "contexts": {split: len({right.context for right in _rights(some)}) for split, some in splits.items()},
            "without_answer": {split: sum(not right.texts for right in _rights(some)) for split, some in splits.items()},
        }

    def findings(self, splits: Splits) -> list[Finding]:
        rights = {split: _rights(splits[split]) for split in ("train", "validation")}
        contexts = {split: {right.context for right in some} for split, some in rights.items()}
        findings = []
        if self.task.unanswerable:
            for split, name in (("train", "training"), ("validation", "held-out")):
                without = sum(not right.texts for right in rights[split])
                if without in (0, len(rights[split])):
                    how = "has no answer" if without else "has an answer"
                    remedy = "omit task.unanswerable, or give questions of both kinds"
                    findings.append(Finding(f"every {name} question {how}", "task.unanswerable=true", remedy))
        if both := len(contexts["train"] & contexts["validation"]):
            what = f"{both:,} of {len(contexts['validation']):,} held-out contexts are in the training examples, too"
            findings.append(Finding(what, "data.validation_files", "hold out other texts: a model may remember what it read"))
        return findings

    def line(self, example: Example[RightAnswers]) -> dict[str, Any]:
        right = example.reference
        assert right is not None
        name = {} if right.id is None else {"id": right.id}
        return {**name, **dict(zip(self.task.text, example.texts, strict=True)), "expected": list(right.texts)}


def _rights(examples: Sequence[Example[RightAnswers]]) -> list[RightAnswers]:
    return [example.reference for example in examples if example.reference is not None]


def _pairs(value: object, column: str, where: str) -> list[tuple[str, int]]:
    """Return answers with their starts: from lists of both, or from a list of objects; in TSV and CSV, a cell has them as JSON.

    Raises:
        DataError: if they are neither.
    """
    if isinstance(value, str):
        try:
            value = parse(value)
        except DamagedJson:
            raise DataError(f"column '{column}' should be answers, but is text", where, f"write {_WANTED}") from None
    if value is None:
        return []
    if isinstance(value, dict):
        for key in (_TEXT, _START):
            if key not in value:
                there = ", ".join(map(str, value)) or "nothing"
                raise DataError(f"there is no '{key}' in column '{column}'; it has: {there}", where, f"write {_WANTED}")
        texts, starts = (each if isinstance(each, list) else [each] for each in (value[_TEXT], value[_START]))
        if len(texts) != len(starts):
            what = f"column '{column}' has {len(texts)} answers, and {len(starts)} places where they start"
            raise DataError(what, where, SKIP)
        value = [{_TEXT: text, _START: start} for text, start in zip(texts, starts, strict=True)]
    if not isinstance(value, list):
        raise DataError(f"column '{column}' should be answers, but is {kind(value)}", where, f"write {_WANTED}")
    return [_pair(item, column, where) for item in value]


def _pair(item: object, column: str, where: str) -> tuple[str, int]:
    """Return one answer with its start."""
    if not isinstance(item, dict) or _TEXT not in item or _START not in item:
        actual = f"an object with: {', '.join(map(str, item)) or 'nothing'}" if isinstance(item, dict) else kind(item)
        what = f"an answer in column '{column}' should have '{_TEXT}' and '{_START}', but is {actual}"
        raise DataError(what, where, f"write {_WANTED}")
    text, start = item[_TEXT], item[_START]
    if not isinstance(text, str) or not text.strip() or unusable(text):
        actual = "empty" if isinstance(text, str) and not text.strip() else kind(text)
        raise DataError(f"the '{_TEXT}' of an answer should be text, but is {actual}", where, SKIP)
    if not isinstance(start, int) or isinstance(start, bool) or start < 0:
        what = f"the '{_START}' of the answer '{text[:_SHORT]}' should be the number of a character, but is {start!r:.40}"
        raise DataError(what, where, SKIP)
    return text, start


def _require_within(context: str, text: str, start: int, where: str) -> None:
    """Refuse an answer that is not where it should be.

    Raises:
        DataError: with the nearest place where it is.
    """
    if (there := context[start : start + len(text)]) == text:
        return
    places = [place for place in range(len(context)) if context.startswith(text, place)]
    what = f"the answer '{text[:_SHORT]}' is not at character {start} of its context, where '{there[:_SHORT]}' is"
    if not places:
        raise DataError(what, where, f"it is nowhere in this context; {SKIP}")
    nearest_place = min(places, key=lambda place: abs(place - start))
    raise DataError(what, where, f"write {_START}: {nearest_place} (characters are counted from 0, not bytes), or {SKIP}")
