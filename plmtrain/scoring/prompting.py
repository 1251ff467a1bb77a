"""How an encoder-decoder is asked for what follows a context: as in the training that it had."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from plmtrain.data.rows.row_formats import FormattedRows, RowFormat, formatted
from plmtrain.data.rows.rows import side_by_side
from plmtrain.errors import SettingsError
from plmtrain.programs.text_to_text.learner import EncoderDecoderLearner

if TYPE_CHECKING:
    from plmtrain.programs.learner import Learner
    from plmtrain.text.vocabulary import Vocabulary


@dataclass(frozen=True)
class Prompting:
    """The way in which the encoder reads a context, and in which the decoder begins to write the text that follows it.

    Args:
        mark: the token that stands for that text in what the encoder reads; None if nothing does.
        restores: whether the decoder writes the context, too, as in BART; else the mark comes before the text, if there is one,
            as in T5.
    """

    mark: int | None
    restores: bool = False

    @classmethod
    def of(cls, learner: Learner, vocabulary: Vocabulary) -> Self:
        """Return how a learner is asked: without a mark if it was trained to continue what the encoder reads.

        Raises:
            SettingsError: if the vocabulary has no token that can be the mark.
        """
        if isinstance(learner, EncoderDecoderLearner) and learner.continues:
            return cls(None)
        if vocabulary.sentinels:
            return cls(vocabulary.sentinels[0])
        if "mask" not in vocabulary.roles:
            what = "the tokenizer has neither a mask nor sentinels, one of which would stand for the text that is scored"
            raise SettingsError(what, "scoring", "score a model that was fine-tuned, or one whose tokenizer has them")
        return cls(vocabulary["mask"], restores=True)

    @property
    def extra(self) -> int:
        """The most tokens by which what is read, or what is written, is longer than context and text together."""
        return 0 if self.mark is None else 1

    def read(self, context: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return what the encoder reads."""
        return context if self.mark is None else np.append(context, self.mark)

    def begun(self, context: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return what the decoder has written before the text."""
        if self.restores:
            return context
        return np.array([] if self.mark is None else [self.mark], np.int64)

    def rows(
        self, pairs: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]], family: str, vocabulary: Vocabulary
    ) -> tuple[FormattedRows, FormattedRows, NDArray[np.int64]]:
        """Lay out contexts and the texts that follow them.

        Args:
            pairs: the tokens of each context, and those of the text.
            family: of the model.
            vocabulary: the ids of the special tokens.

        Returns:
            What the encoder reads, what the decoder writes, and [tokens] the places of the texts in all that is written.
        """
        begun = [self.begun(context) for context, _ in pairs]
        read = _framed([self.read(context) for context, _ in pairs], RowFormat.of(family, 1), vocabulary)
        written_format = RowFormat.written(family)
        parts = [np.append(before, text) for before, (_, text) in zip(begun, pairs, strict=True)]
        written = _framed(parts, written_format, vocabulary)
        first = written_format.opening + np.arange(len(pairs)) * written.ids.shape[1]
        spans = zip((first + list(map(len, begun))).tolist(), (first + list(map(len, parts))).tolist(), strict=True)
        return read, written, np.concatenate([np.arange(start, end) for start, end in spans])


def _framed(texts: Sequence[NDArray[np.int64]], row_format: RowFormat, vocabulary: Vocabulary) -> FormattedRows:
    rows = side_by_side([(ids, np.ones(len(ids), np.bool_)) for ids in texts], vocabulary.padding)
    return formatted(rows, row_format, vocabulary, rows.tokens.shape[1] + row_format.framing)
