"""Questions about texts, as rows; the answer to a question is a part of its text (the context).

A context that is longer than its row has room for is read in windows that overlap. An answer may begin where a window shows the
most of its surroundings, so that no two windows give the same answer, and may end anywhere in that window.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from plmtrain.data.corpus.encoding import running_characters, running_text
from plmtrain.data.rows.rows import Rows
from plmtrain.data.rows.windows import windows_of
from plmtrain.data.tables.examples import Texts
from plmtrain.stopping import safe_point
from plmtrain.text.character_places import whole_characters

if TYPE_CHECKING:
    from plmtrain.text.tokenizer import Tokenizer

_AT_ONCE = 256
"""Contexts that are encoded between two looks for a signal."""


@dataclass(frozen=True, slots=True)
class RightAnswers:
    """The right answers to a question; several people may have answered it.

    Args:
        context: the text that they are parts of.
        texts: the answers; none if the context has no answer.
        starts: the character of the context at which each starts.
        id: the question's name in its file, if it has one.
    """

    context: str = field(repr=False)
    texts: tuple[str, ...]
    starts: tuple[int, ...]
    id: str | None = field(default=None, compare=False)


@dataclass(frozen=True, kw_only=True)
class QuestionRows(Rows):
    """Rows of questions: ``others`` are windows of their contexts.

    Args:
        owners: [rows] the example of each row, by its index.
        characters: [rows, length, 2] of each token of the window, the place in the context of its first character, and that after
            its last one.
        own: [rows, length] whether an answer may begin at this token of the window.
        answers: [rows, 2] the first and the last token of the right answer in the window, -1 where it is not wholly in it; None
            if the right answers are unknown.
    """

    owners: NDArray[np.int64]
    characters: NDArray[np.int64]
    own: NDArray[np.bool_]
    answers: NDArray[np.int64] | None = None


@dataclass(frozen=True)
class Contexts:
    """Encoded contexts, one behind the other.

    Args:
        texts: their tokens.
        characters: [tokens, 2] as in ``QuestionRows``.
    """

    texts: Texts
    characters: NDArray[np.int64]

    @classmethod
    def encode(cls, texts: Sequence[str], tokenizer: Tokenizer) -> Contexts:
        """Encode contexts as they are pretrained on, and find the characters of their tokens."""
        parts = [np.zeros((0, 2), np.int64)]
        for first in range(0, len(texts), _AT_ONCE):
            safe_point()
            some = texts[first : first + _AT_ONCE]
            running = [running_text(text, tokenizer.family) for text in some]
            for text, read, places in zip(some, running, tokenizer.places(running), strict=True):
                parts.append(_in_context(whole_characters(read, places), running_characters(text, tokenizer.family)))
        return cls(Texts.encode(texts, tokenizer), np.concatenate(parts))

    def answer(self, number: int, begin: int, end: int) -> tuple[int, int]:
        """Return the first and the last token that show a part of a context; -1 twice if none does.

        Args:
            number: of the context.
            begin, end: the characters of the part.
        """
        begins, ends = self.characters[slice(*self.texts.starts[number : number + 2])].T
        inside = np.flatnonzero((ends > begin) & (begins < end) & (begins < ends))
        return (int(inside[0]), int(inside[-1])) if len(inside) else (-1, -1)


def _in_context(places: NDArray[np.int64], characters: NDArray[np.int64]) -> NDArray[np.int64]:
    """Convert places in a running text to places in the context that it was made from."""
    if not len(characters):
        return np.zeros_like(places)
    begins = characters[np.minimum(places[:, 0], len(characters) - 1)]
    ends = characters[np.maximum(places[:, 1] - 1, 0)] + 1
    return np.where((places[:, 0] < places[:, 1])[:, None], np.stack([begins, ends], axis=1), 0)


@dataclass(frozen=True)
class EncodedQuestions:
    """Questions with their contexts.

    Args:
        questions: the questions.
        contexts: the different contexts.
        context_of: [questions] the context of each.
        answers: [questions, 2] the first and the last token of the right answer in the context, -1 for none; None if unknown.
        references: the right answers themselves.
        stride: tokens from the start of a window to that of the next one; a third of a row's if None.
        question_length: the most tokens of a question.
    """

    questions: Texts
    contexts: Contexts
    context_of: NDArray[np.int64]
    answers: NDArray[np.int64] | None
    references: Sequence[RightAnswers]
    stride: int | None
    question_length: int

    @classmethod
    def encode(
        cls,
        pairs: Sequence[tuple[str, ...]],
        references: Sequence[RightAnswers] | None,
        tokenizer: Tokenizer,
        stride: int | None,
        question_length: int,
    ) -> EncodedQuestions:
        """Encode questions, and each different context once.

        Args:
            pairs: a question and its context each.
            references: the right answers; None if they are unknown.
            tokenizer: encodes them.
            stride, question_length: as for the class.
        """
        numbers: dict[str, int] = {}
        context_of = np.array([numbers.setdefault(context, len(numbers)) for _, context in pairs], np.int64)
        contexts = Contexts.encode(list(numbers), tokenizer)
        answers = None
        if references is not None:
            answers = np.full((len(references), 2), -1, np.int64)
            for row, (number, right) in enumerate(zip(context_of.tolist(), references, strict=True)):
                if right.texts:
                    answers[row] = contexts.answer(number, right.starts[0], right.starts[0] + len(right.texts[0]))
        questions = Texts.encode([question for question, _ in pairs], tokenizer)
        return cls(questions, contexts, context_of, answers, references or (), stride, question_length)

    def rows(self, most: int) -> QuestionExamples:
        """Return a row for each question, or several for contexts that do not fit into ``most`` tokens beside it."""
        return QuestionExamples(self, most)

    def cutting(self, length: int) -> str:
        """Return in words how many contexts are read in windows, and how many questions are cut."""
        questions, contexts = np.diff(self.questions.starts), np.diff(self.contexts.texts.starts)[self.context_of]
        limit = min(self.question_length, length // 2)
        kept = np.minimum(questions, limit)
        windowed, cut = float(np.mean(kept + contexts + 3 > length)), float(np.mean(questions > limit))
        return (
            f"{windowed:.1%} of the questions have a context that is longer than {length} tokens, and read in windows"
            f"{f'; {cut:.1%} of the questions are cut to {limit} tokens' if cut else ''}"
        )


class QuestionExamples:
    """A source of rows of questions, one row each, or several windows of the context.

    Args:
        encoded: the questions.
        most: tokens of text in a row.
    """

    def __init__(self, encoded: EncodedQuestions, most: int) -> None:
        self._encoded, self.references = encoded, encoded.references
        self._kept = np.minimum(np.diff(encoded.questions.starts), min(encoded.question_length, most // 2))  # [questions]
        lengths = np.diff(encoded.contexts.texts.starts)[encoded.context_of]
        advance = encoded.stride or max(1, most // 3)
        windows = [
            windows_of(size, most - kept, min(advance, most - kept))
            for size, kept in zip(lengths.tolist(), self._kept.tolist(), strict=True)
        ]
        self.owners = np.repeat(np.arange(len(windows)), [len(each) for each in windows])
        spans = np.concatenate(windows) if windows else np.zeros((0, 4), np.int64)
        self._begins, self._lengths, self._own_from, self._own_to = spans.T
        self.sizes = self._lengths + self._kept[self.owners]

    def __len__(self) -> int:
        return len(self.owners)

    def fetch(self, indices: NDArray[np.int64]) -> QuestionRows:
        """Return the rows at some indices, in that order."""
        encoded, owners = self._encoded, self.owners[indices]
        question = encoded.questions.rows(owners, self._kept[owners])
        lengths, begins = self._lengths[indices], self._begins[indices]
        columns = np.arange(lengths.max(initial=0))
        real = columns < lengths[:, None]
        inside = begins[:, None] + columns  # [rows, length] places in the context
        own = real & (inside >= self._own_from[indices][:, None]) & (inside < self._own_to[indices][:, None])
        texts = encoded.contexts.texts
        places = np.where(real, texts.starts[encoded.context_of[owners]][:, None] + inside, 0)
        empty = not len(texts.tokens)
        window = Rows(
            tokens=np.zeros(real.shape, np.int64) if empty else np.where(real, texts.tokens[places], 0).astype(np.int64),
            lengths=lengths,
            word_starts=real,
        )
        characters = np.zeros((*real.shape, 2), np.int64) if empty else encoded.contexts.characters[places] * real[..., None]
        answers = None
        if encoded.answers is not None:
            answers = encoded.answers[owners] - begins[:, None]
            whole = (encoded.answers[owners, 0] >= begins) & (encoded.answers[owners, 1] < begins + lengths)
            answers = np.where(whole[:, None], answers, -1)
        return QuestionRows(
            tokens=question.tokens,
            lengths=question.lengths,
            word_starts=question.word_starts,
            others=window,
            owners=owners,
            characters=characters,
            own=own,
            answers=answers,
        )
