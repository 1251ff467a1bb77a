"""Reading texts or pairs beside the text that shall be written for them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from plmtrain.data.tables.answered import EncodedAnswers
from plmtrain.data.tables.examples import EncodedTexts, Texts
from plmtrain.data.tables.reader import Example, Finding
from plmtrain.data.tables.texts import TextReader
from plmtrain.errors import DataError
from plmtrain.settings.tasks.sequence_to_sequence import SequenceToSequenceSettings
from plmtrain.text.readers import SKIP

if TYPE_CHECKING:
    from plmtrain.data.tables.labelled import Splits
    from plmtrain.data.tables.table_files import Row
    from plmtrain.text.tokenizer import Tokenizer

_SAMPLED = 2000
"""The targets of which letters are counted."""
_UNSEEN = 0.05
"""The share of letters that rouge does not see, and that is worth a warning."""
_SEEN = re.compile("[a-z0-9]")
"""The letters that the library rouge-score compares, after a change to lower case."""


class SequenceToSequenceReader(TextReader[SequenceToSequenceSettings, str]):
    """Reads a text from the column of ``task.target``."""

    another = "another target"

    @property
    def answer_columns(self) -> Mapping[str, str]:
        return {self.task.target: "task.target"}

    def answer(self, row: Row) -> str:
        text = row.text(self.task.target)
        if not text.strip():
            raise DataError(f"column '{self.task.target}' is empty: there is nothing to write", row.where, SKIP)
        return text

    def vocabulary_texts(self, example: Example[str]) -> tuple[str, ...]:
        prefix = self.task.prefix.strip()
        target = () if example.reference is None else (example.reference,)
        return (*((prefix,) if prefix else ()), *example.texts, *target)

    def encode(self, examples: Sequence[Example[str]], tokenizer: Tokenizer) -> EncodedAnswers:
        first, *second = zip(*(example.texts for example in examples), strict=True)
        columns = [[self.task.prefix + text for text in first], *second]
        targets = _targets(examples)
        known = len(targets) == len(examples)
        return EncodedAnswers(
            questions=EncodedTexts(tuple(Texts.encode(column, tokenizer) for column in columns), None, targets),
            answers=Texts.encode(targets, tokenizer) if known else None,
            most=self.task.target_length,
            prefix=int(Texts.encode([self.task.prefix], tokenizer).starts[-1]),
        )

    def opening(self, splits: Splits) -> str:
        targets = _targets(splits["train"])
        words = np.array([len(target.split()) for target in targets])
        return f"targets: {len(set(targets)):,} different ones, {words.mean():.1f} words on average, {words.max():,} at most"

    def facts(self, splits: Splits) -> dict[str, Any]:
        return {"targets": {split: len(set(_targets(examples))) for split, examples in splits.items()}}

    def findings(self, splits: Splits) -> list[Finding]:
        if not any(metric.startswith("rouge") for metric in self.task.metrics):
            return []
        letters = [letter for text in _targets(splits["validation"])[:_SAMPLED] for letter in text.lower() if letter.isalnum()]
        unseen = sum(_SEEN.fullmatch(letter) is None for letter in letters) / max(1, len(letters))
        if unseen < _UNSEEN:
            return []
        what = f"rouge compares the letters a to z and digits only, and {unseen:.0%} of the targets' letters are others"
        return [Finding(what, f"task.target={self.task.target}", "take another metric for this language: chrf, bleu")]


def _targets(examples: Sequence[Example[str]]) -> list[str]:
    return [example.reference for example in examples if example.reference is not None]
