"""Encoded examples whose answers are texts, as a source of rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from plmtrain.data.rows.rows import Rows
from plmtrain.data.tables.examples import EncodedExamples, EncodedTexts, Texts
from plmtrain.errors import SettingsError

if TYPE_CHECKING:
    from plmtrain.text.tokenizer import Tokenizer


@dataclass(frozen=True, kw_only=True)
class AnsweredRows(Rows):
    """Rows of texts or pairs, for each of which a text shall be written.

    Args:
        answers: the right text of each row, uncut; None where they are unknown.
    """

    answers: Rows | None = None


@dataclass(frozen=True)
class EncodedAnswers:
    """Examples with texts as answers.

    Args:
        questions: the texts or pairs that are read.
        answers: the texts that shall be written; None where they are unknown.
        most: tokens of a row with an answer; those of the other rows if None.
        prefix: tokens before each text that is read.
    """

    questions: EncodedTexts
    answers: Texts | None
    most: int | None = None
    prefix: int = 0

    @classmethod
    def encode(
        cls, rows: Sequence[str], answers: Sequence[str], references: Sequence[Any], tokenizer: Tokenizer, most: int | None = None
    ) -> EncodedAnswers:
        """Encode texts and their answers.

        Args:
            rows: the texts that are read.
            answers: those that shall be written; fewer if not all are known.
            references: the right answers, as the reader of the task reads them.
            tokenizer: encodes them.
            most: as in the class.
        """
        known = len(answers) == len(rows)
        questions = EncodedTexts((Texts.encode(rows, tokenizer),), None, references)
        return cls(questions, Texts.encode(answers, tokenizer) if known else None, most)

    def rows(self, most: int) -> AnsweredExamples:
        """Return a row for each example; longer questions are cut to ``most`` tokens of text.

        Raises:
            SettingsError: if the text before each of them leaves no place.
        """
        if self.prefix and self.prefix >= most:
            what = f"the text before each text has {self.prefix} tokens, and a row {most}: nothing of the texts would be read"
            raise SettingsError(what, "task.prefix", "shorten it, or raise trainer.sequence_length")
        return AnsweredExamples(self.questions.rows(most), self.answers)

    def cutting(self, length: int) -> str:
        """Return in words which share of the examples, and of their answers, is cut."""
        cut = self.questions.cutting(length)
        if self.answers is None:
            return cut
        most = self.most or length
        share = float(np.mean(np.diff(self.answers.starts) + 2 > most))
        return f"{cut}, {share:.1%} of the targets to fit {most}"


class AnsweredExamples:
    """A source of rows of examples with texts as answers, one row each.

    Args:
        questions: the rows of the questions.
        answers: the texts that shall be written; None where they are unknown.
    """

    def __init__(self, questions: EncodedExamples, answers: Texts | None) -> None:
        self.questions, self.answers = questions, answers
        self.references: Sequence[Any] = questions.references
        self.owners = questions.owners

    def __len__(self) -> int:
        return len(self.questions)

    @property
    def sizes(self) -> NDArray[np.int64]:
        """The tokens of text in each row.  # [rows]"""
        return self.questions.sizes

    def fetch(self, indices: NDArray[np.int64]) -> AnsweredRows:
        """The examples at some indices, in that order."""
        rows = self.questions.fetch(indices)
        answers = None if self.answers is None else self.answers.rows(indices, self.answers.lengths(indices))
        return AnsweredRows(
            tokens=rows.tokens,
            lengths=rows.lengths,
            word_starts=rows.word_starts,
            spellings=rows.spellings,
            others=rows.others,
            cut=rows.cut,
            answers=answers,
        )
