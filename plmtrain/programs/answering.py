"""Predictions of a trained learner on texts, and their presentation as text.

A text passes through ``questions`` -> ``collate`` -> ``predict`` -> ``read_out``. The first and the last work with text, the two
between them with token ids only.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

import numpy as np

from plmtrain.data.tables.table_files import FORMATS
from plmtrain.errors import SettingsError
from plmtrain.programs.learner import Learner

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from plmtrain.batch import Batch
    from plmtrain.data.rows.rows import Rows
    from plmtrain.data.tables.table_files import Row
    from plmtrain.settings.generation import GenerationSettings
    from plmtrain.text.tokenizer import Tokenizer

LearnerT_contra = TypeVar("LearnerT_contra", bound=Learner, contravariant=True)


@dataclass(frozen=True)
class Answer:
    """The answer that ``plmtrain predict`` prints for a text.

    Args:
        values: JSON-serialisable, with tokens as text.
        lines: the same for a person to read.
    """

    values: Mapping[str, Any]
    lines: Sequence[str]


@dataclass(frozen=True)
class Demonstration:
    """A table of a learner's predictions on some held-out sentences, printed when training ends.

    Args:
        title: the table's title.
        headings: one for each column; the first is the widest.
        rows: the cells of each row.
    """

    title: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]


class Answering(ABC, Generic[LearnerT_contra]):
    """The conversion of texts to a learner's inputs, and of its predictions to answers."""

    longest: int
    """The maximum number of text tokens in a question."""

    @property
    def endings(self) -> Mapping[str, str]:
        """The formats of tables by the endings of files."""
        return FORMATS

    @property
    def columns(self) -> Mapping[str, str]:
        """The columns of a table that a question is read from, each with what names it; here there is one, ``text``."""
        return {"text": "the column of a text"}

    def asked(self, row: Row) -> str:
        """Return the text of the question in a row of a table.

        Raises:
            DataError: naming file and line, if a cell cannot be used.
        """
        return row.text("text")

    def appended(self, answer: Answer) -> dict[str, Any]:
        """Return the columns that an answer adds to its row of a table; here all its values but those of the question."""
        return {name: value for name, value in answer.values.items() if name not in self.columns}

    @abstractmethod
    def questions(self, texts: Sequence[str], tokenizer: Tokenizer) -> Rows:
        """Encode texts to rows, without the special tokens that ``collate`` adds.

        Raises:
            DataError: if a text lacks something that the program needs, e.g. a mask to fill.
        """

    def owners(self, rows: Rows) -> NDArray[np.int64]:
        """Return the index of the text of each row of ``questions``, in ascending order; here each text is one row.  # [rows]"""
        return np.arange(len(rows))

    def ranked(self, count: int) -> Self:
        """Return the same, which reads out several answers to a question, the best first.

        Args:
            count: how many.

        Raises:
            SettingsError: if there is only one answer to a question.
        """
        raise SettingsError("the run gives one answer to a question", f"--n-best {count}", "omit it")

    @abstractmethod
    def collate(self, rows: Rows) -> Batch:
        """Make the batch for ``predict``, without masking or changing any token."""

    @abstractmethod
    def predict(self, learner: LearnerT_contra, batch: Batch) -> list[dict[str, Any]]:
        """Return a JSON-serialisable answer for each row, with the index of its ``sample``."""

    @abstractmethod
    def read_out(self, text: str, ids: NDArray[np.int64], answer: Mapping[str, Any], tokenizer: Tokenizer) -> Answer:
        """Convert an answer of ``predict`` to text.

        Args:
            text: the text of the question.
            ids: [tokens] the tokens of its first row, from ``questions``.
            answer: the answer of ``predict`` for its row, or what ``merge`` makes of those for its rows.
            tokenizer: the tokenizer that encoded it.
        """

    def stream(
        self, learner: LearnerT_contra, batch: Batch, text: str, ids: NDArray[np.int64], tokenizer: Tokenizer
    ) -> Iterator[str]:
        """Yield the lines of an answer piece by piece while they are computed; by default all of them at once.

        Args:
            learner: in eval mode.
            batch: all rows of one question, from ``collate``.
            text, ids, tokenizer: as in ``read_out``.
        """
        answer = self.merge(self.predict(learner, batch))
        yield "\n".join(self.read_out(text, ids, answer, tokenizer).lines)

    @property
    def scored(self) -> tuple[str, ...]:
        """The measures that ``score`` computes; if there are any, validation predicts all held-out rows. Here there are none."""
        return ()

    def score(self, predictions: Sequence[Mapping[str, Any]], references: Sequence[Any]) -> dict[str, float]:
        """Compute measures that are not sums over rows, from all answers at once.

        Args:
            predictions: the answers of ``predict``, one for each example.
            references: the right ones, as the reader of the task reads them.

        Returns:
            A number for each of ``scored``; ``nan`` if it is undefined.
        """
        return {}

    def merge(self, answers: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Return the answer for an example, given the answers for its rows; here an example is one row."""
        (answer,) = answers
        return answer

    def demonstrate(self, learner: LearnerT_contra, rows: Rows, tokenizer: Tokenizer) -> Demonstration:
        """Make a table of the learner's predictions on some held-out sentences; by default, its answers to them.

        Args:
            learner: in eval mode.
            rows: one sentence in each row.
            tokenizer: the tokenizer that encoded them.
        """
        shown = []
        for row, answer in enumerate(self.predict(learner, self.collate(rows))):
            ids = rows.tokens[row, : rows.lengths[row]]
            text = tokenizer.decode(ids).strip()
            shown.append((text, "\n".join(self.read_out(text, ids, answer, tokenizer).lines)))
        return Demonstration("answers (held-out text)", ("sentence", "answer"), shown)

    def writing(self, chosen: GenerationSettings, tokenizer: Tokenizer) -> Self:
        """Return the same with other settings of text generation.

        Args:
            chosen: the settings.
            tokenizer: decodes what is written, to find the texts that end it.

        Raises:
            SettingsError: if the answers are not generated text.
        """
        given = ", ".join(f"--{name.replace('_', '-')}" for name in sorted(chosen.model_fields_set))
        raise SettingsError("the run does not generate text", given, "omit the options of text generation")
