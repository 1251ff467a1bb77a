"""How a trained learner is asked about texts, and how its answers are read.

A text goes ``questions`` -> ``collate`` -> ``predict`` -> ``read_out``: only the first and the last know of text, the two
between them of ids alone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from plmtrain.errors import SettingsError
from plmtrain.programs.learner import Learner

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from plmtrain.batch import Batch
    from plmtrain.data.rows.rows import Rows
    from plmtrain.settings.generation import GenerationSettings
    from plmtrain.text.tokenizer import Tokenizer

LearnerT_contra = TypeVar("LearnerT_contra", bound=Learner, contravariant=True)


@dataclass(frozen=True)
class Answer:
    """What ``plmtrain predict`` prints for a text.

    Args:
        values: JSON-ready, with tokens written out as text.
        lines: the same for people.
    """

    values: Mapping[str, Any]
    lines: Sequence[str]


@dataclass(frozen=True)
class Demonstration:
    """What a learner makes of some held-out sentences, as a table that closes its training.

    Args:
        title: what is shown.
        headings: one for each column; the first is the widest.
        rows: the cells of each row.
    """

    title: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]


class Answering(ABC, Generic[LearnerT_contra]):
    """Questions to a learner and its answers."""

    longest: int
    """The most tokens of text that a question may have."""

    @abstractmethod
    def questions(self, texts: Sequence[str], tokenizer: Tokenizer) -> Rows:
        """Return rows that ask about texts, one for each, without the special tokens that ``collate`` adds.

        Raises:
            DataError: if a text lacks what is needed, say a mask to fill.
        """

    @abstractmethod
    def collate(self, rows: Rows) -> Batch:
        """Make rows ready for ``predict``: nothing is hidden or changed that the user did not hide."""

    @abstractmethod
    def predict(self, learner: LearnerT_contra, batch: Batch) -> list[dict[str, Any]]:
        """Return a JSON-ready answer for each row, with the index of its ``sample``."""

    @abstractmethod
    def read_out(self, text: str, ids: NDArray[np.int64], answer: Mapping[str, Any], tokenizer: Tokenizer) -> Answer:
        """Put an answer of ``predict`` into words.

        Args:
            text: the question.
            ids: [tokens] its tokens, from ``questions``.
            answer: what ``predict`` gave for its row.
            tokenizer: what turned it into tokens.
        """

    def demonstrate(self, learner: LearnerT_contra, rows: Rows, tokenizer: Tokenizer) -> Demonstration:
        """Show what the learner makes of some held-out sentences; here, its answers when it is asked about them.

        Args:
            learner: in eval mode.
            rows: a sentence each.
            tokenizer: what turned them into tokens.
        """
        shown = []
        for row, answer in enumerate(self.predict(learner, self.collate(rows))):
            ids = rows.tokens[row, : rows.lengths[row]]
            text = tokenizer.decode(ids).strip()
            shown.append((text, "\n".join(self.read_out(text, ids, answer, tokenizer).lines)))
        return Demonstration("answers (held-out text)", ("sentence", "answer"), shown)

    def writing(self, chosen: GenerationSettings) -> Self:
        """Return the same questions and answers, with other settings of how text is written.

        Raises:
            SettingsError: if answers are not text that is written token by token.
        """
        given = ", ".join(f"--{name.replace('_', '-')}" for name in sorted(chosen.model_fields_set))
        raise SettingsError("the run does not write text", given, "omit the options of text generation")
