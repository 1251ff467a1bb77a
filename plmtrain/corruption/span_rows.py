"""Whole rows with spans of words masked (Joshi et al. 2020, sections 3.1 and 3.2).

All tokens of a span are treated alike: all are masked, all become random tokens, or all stay. Special tokens are never chosen.
In the authors' code they only occur around the text; that code may choose unknown tokens, from which nothing is learnt.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from plmtrain.corruption.framed_rows import FramedRows
from plmtrain.corruption.grouping import Indices, ranges, share_of
from plmtrain.corruption.masked_rows import MaskedRows
from plmtrain.corruption.spans import TokenText, choose_span_tokens, length_limits, runs, tokens_of
from plmtrain.keyed_random import Keys, as_integers, several_row_bits, spread_at
from plmtrain.settings.spans import SpanSettings
from plmtrain.text.vocabulary import Vocabulary

_FRAME = ("cls", "sep", "pad", "bos", "eos")
"""The roles of tokens that frame text: they are no boundary of a span."""

_LOW = np.uint64(2**32 - 1)


@dataclass(frozen=True, kw_only=True)
class SpanMaskedRows(MaskedRows):
    """Framed rows in which spans are masked; ``positions`` are the tokens of the spans, span by span.

    Args:
        first: [spans] the first token of each, as an index into rows * length, ascending.
        lengths: [spans] how many tokens it has.
        words: [spans] how many words it touches, cut ones included.
        bounded: [spans] whether there is text on both sides of it.
    """

    first: NDArray[np.int64]
    lengths: NDArray[np.int64]
    words: NDArray[np.int64]
    bounded: NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class BoundaryTargets:
    """The targets that are predicted from the boundaries of spans.

    Args:
        left, right: [bounded spans] the tokens beside each, as indices into rows * length.
        spans: [targets] the bounded span of each target.
        places: [targets] its place in that span, counted from 0.
        predicted: [targets] its index in the rows' ``positions`` and ``labels``.
    """

    left: NDArray[np.int64]
    right: NDArray[np.int64]
    spans: NDArray[np.int64]
    places: NDArray[np.int64]
    predicted: NDArray[np.int64]


class SpanMasker:
    """Masks spans of framed rows.

    Args:
        settings: how many tokens, how long the spans are, and what replaces them.
        vocabulary: of the rows' tokens.
    """

    def __init__(self, settings: SpanSettings, vocabulary: Vocabulary) -> None:
        self.settings = settings
        self.vocabulary = vocabulary
        self.mask = vocabulary["mask"]
        self.is_frame = np.zeros(vocabulary.size, np.bool_)
        self.is_frame[[vocabulary.roles[role] for role in _FRAME if role in vocabulary.roles]] = True

    def __call__(self, rows: FramedRows, text: TokenText | None, keys: Keys) -> SpanMaskedRows:
        """Mask spans, as a function of each row, its key and the text; the input rows are not changed.

        Args:
            rows: the rows to mask.
            text: the text that the rows are from; None where it is unknown and random tokens are not drawn from it.
            keys: one for each row.
        """
        settings, width = self.settings, rows.ids.shape[1]
        ids = rows.ids.copy()
        excluded, frame = self.vocabulary.is_special.take(ids), self.is_frame.take(ids)
        budgets = share_of(width - np.count_nonzero(frame, axis=1), settings.mask_probability)
        choice, fate, token = several_row_bits(("spans.choose", "spans.fate", "spans.token"), keys)  # each [rows]
        limits = length_limits(settings.stop_probability, settings.longest_span)
        positions = choose_span_tokens(choice, excluded, rows.word_starts, budgets, limits)
        first, lengths = runs(positions)

        flat = ids.reshape(-1)
        labels = flat.take(positions)
        row = first // width
        drawn = np.repeat(spread_at(fate.take(row), first - row * width) & _LOW, lengths)
        masked = drawn < np.uint64(round(settings.mask_share * 2**32))
        changed = drawn < np.uint64(round((settings.mask_share + settings.random_share) * 2**32))
        flat[positions[masked]] = self.mask
        swapped = positions[changed & ~masked]
        row_of = swapped // width
        flat[swapped] = self._random(text, spread_at(token.take(row_of), swapped - row_of * width))

        inside = ~frame.reshape(-1)
        starts = np.cumsum(rows.word_starts.reshape(-1))
        return SpanMaskedRows(
            ids=ids,
            positions=positions,
            labels=labels,
            first=first,
            lengths=lengths,
            # One more than the words that begin after the first token.
            words=1 + starts.take(first + lengths - 1) - starts.take(first),
            bounded=inside.take(first - 1) & inside.take(first + lengths),
        )

    def _random(self, text: TokenText | None, random: NDArray[np.uint64]) -> NDArray[np.int64]:
        if self.settings.random_tokens == "ordinary":
            ordinary = self.vocabulary.ordinary_ids
            return ordinary.take(as_integers(random, len(ordinary)))
        assert text is not None, "the source of these rows does not provide its text"
        return tokens_of(text, random, self.vocabulary.is_special)


def boundary_targets(rows: SpanMaskedRows, most: int) -> BoundaryTargets:
    """Return the tokens that are predicted from the boundaries of their spans: those of spans with text on both sides.

    Args:
        rows: with their spans.
        most: how many tokens of a span are predicted so, the first ones.
    """
    bounded = np.flatnonzero(rows.bounded)
    first, lengths = rows.first[bounded], rows.lengths[bounded]
    begin = (np.cumsum(rows.lengths) - rows.lengths)[bounded]
    sizes: Indices = np.minimum(lengths, most)
    predicted = ranges(begin, sizes)
    spans = np.repeat(np.arange(len(bounded)), sizes)
    return BoundaryTargets(
        left=first - 1, right=first + lengths, spans=spans, places=predicted - begin.take(spans), predicted=predicted
    )
