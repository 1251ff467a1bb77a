"""Encoded examples with several choices each, as a source of rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plmtrain.data.rows.rows import Rows
from plmtrain.data.tables.examples import ExampleRows, Texts, cut, kept_lengths


@dataclass(frozen=True, kw_only=True)
class ChoiceRows(ExampleRows):
    """Contexts, one a row, with their choices; a context may have no token.

    Args:
        choices: the choices of all rows, one behind the other.
        counts: [rows] the number of choices of each row.
        alone: whether there are no contexts.
    """

    choices: Rows
    counts: NDArray[np.int64]
    alone: bool = False

    def each(self, most: int) -> Rows:
        """Return a row for each choice, with its context as the first text of a pair.

        Args:
            most: tokens of text in a row; of longer pairs, the longer text is cut.
        """
        if self.alone:
            return cut(self.choices, np.minimum(self.choices.lengths, most))
        owners = np.repeat(np.arange(len(self)), self.counts)
        context = Rows(
            tokens=self.tokens[owners],
            lengths=self.lengths[owners],
            word_starts=self.word_starts[owners],
            spellings=None if self.spellings is None else self.spellings[owners],
        )
        first, second = kept_lengths(context.lengths, self.choices.lengths, most)
        return replace(cut(context, first), others=cut(self.choices, second))


@dataclass(frozen=True)
class EncodedChoices:
    """Examples with several choices each.

    Args:
        contexts: the texts before the choices; None for none.
        choices: the choices of all examples, one behind the other.
        starts: [examples + 1] the first choice of each example; the last number is where the last one ends.
        targets: [examples] the number of the right choice of each, from 0; None where they are unknown.
        references: the right choices themselves.
    """

    contexts: Texts | None
    choices: Texts
    starts: NDArray[np.int64]
    targets: NDArray[np.int64] | None
    references: Sequence[Any]

    def rows(self, most: int) -> ChoiceExamples:
        """Return a row for each example; the pairs of a context and a choice are cut to ``most`` tokens of text."""
        return ChoiceExamples(self, most)

    def sizes(self) -> NDArray[np.int64]:
        """Return the tokens of the longest pair of each example.  # [examples]"""
        longest = np.maximum.reduceat(np.diff(self.choices.starts), self.starts[:-1]) if len(self.starts) > 1 else self.starts[1:]
        return longest if self.contexts is None else longest + np.diff(self.contexts.starts)

    def cutting(self, length: int) -> str:
        """Return in words which share of the examples is cut, by a little too much where special tokens are more than two."""
        share = float(np.mean(self.sizes() + (2 if self.contexts is None else 3) > length))
        return f"{share:.1%} of the examples are cut to fit {length} tokens"


class ChoiceExamples:
    """A source of examples with several choices, one row each.

    Args:
        encoded: the examples.
        most: tokens of text in a row of the model.
    """

    def __init__(self, encoded: EncodedChoices, most: int) -> None:
        self._encoded, self._most = encoded, most
        self.references: Sequence[Any] = encoded.references
        self.owners = np.arange(len(self))

    def __len__(self) -> int:
        return len(self._encoded.starts) - 1

    @cached_property
    def sizes(self) -> NDArray[np.int64]:
        """The tokens of text in the longest row of the model of each example.  # [rows]"""
        sizes: NDArray[np.int64] = np.minimum(self._whole, self._most)
        return sizes

    @cached_property
    def _whole(self) -> NDArray[np.int64]:
        return self._encoded.sizes()

    def fetch(self, indices: NDArray[np.int64]) -> ChoiceRows:
        """Return the examples at some indices, in that order."""
        encoded = self._encoded
        counts = np.diff(encoded.starts)[indices]
        own = [np.arange(encoded.starts[index], encoded.starts[index + 1]) for index in indices.tolist()]
        numbers = np.concatenate(own) if own else np.zeros(0, np.int64)
        choices = encoded.choices.rows(numbers, np.minimum(encoded.choices.lengths(numbers), self._most))
        if encoded.contexts is None:
            nothing = np.zeros((len(indices), 0), np.int64)
            context = Rows(tokens=nothing, lengths=np.zeros(len(indices), np.int64), word_starts=nothing.astype(np.bool_))
        else:
            context = encoded.contexts.rows(indices, np.minimum(encoded.contexts.lengths(indices), self._most))
        return ChoiceRows(
            tokens=context.tokens,
            lengths=context.lengths,
            word_starts=context.word_starts,
            spellings=context.spellings,
            cut=self._whole[indices] > self._most,
            choices=choices,
            counts=counts,
            alone=encoded.contexts is None,
            targets=None if encoded.targets is None else encoded.targets[indices],
        )
