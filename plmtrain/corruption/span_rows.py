"""Whole rows with spans of words hidden (Joshi et al. 2020, sections 3.1 and 3.2).

All tokens of a span share one fate: masks stand for them all, or random tokens, or themselves. Special tokens are never chosen;
in the authors' code they stand around the text, and unknown ones, which that code may choose, teach nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from plmtrain.corruption.grouping import Indices, ranges, share_of
from plmtrain.corruption.masked_rows import FramedRows, MaskedRows
from plmtrain.corruption.spans import choose_span_tokens, length_limits, runs, tokens_of
from plmtrain.keyed_random import Keys, as_integers, several_row_bits, spread_at
from plmtrain.settings.spans import SpanSettings
from plmtrain.text.vocabulary import Vocabulary

_FRAME = ("cls", "sep", "pad", "bos", "eos")
"""The roles of tokens that stand around text: no span has its boundary there."""

_LOW = np.uint64(2**32 - 1)


@dataclass(frozen=True, kw_only=True)
class SpanMaskedRows(MaskedRows):
    """Framed rows in which spans are hidden; ``positions`` are the tokens of one span after the other.

    Args:
        first: [spans] the first token of each, as an index into rows * length, ascending.
        lengths: [spans] its tokens.
        words: [spans] in how many words they are, cut ones included.
        bounded: [spans] whether text stands on both sides of it.
    """

    first: NDArray[np.int64]
    lengths: NDArray[np.int64]
    words: NDArray[np.int64]
    bounded: NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class BoundaryTargets:
    """What is predicted from the boundaries of spans.

    Args:
        left, right: [bounded spans] the tokens beside each, as indices into rows * length.
        spans: [targets] the bounded span of each target.
        places: [targets] its place in that span, counted from 0.
        predicted: [targets] which of the rows' ``positions`` and ``labels`` it is.
    """

    left: NDArray[np.int64]
    right: NDArray[np.int64]
    spans: NDArray[np.int64]
    places: NDArray[np.int64]
    predicted: NDArray[np.int64]


class SpanMasker:
    """Hides spans of framed rows.

    Args:
        settings: how many, how long, and behind what.
        vocabulary: the tokens that rows are made of.
    """

    def __init__(self, settings: SpanSettings, vocabulary: Vocabulary) -> None:
        self.settings = settings
        self.vocabulary = vocabulary
        self.mask = vocabulary["mask"]
        self.is_frame = np.zeros(vocabulary.size, np.bool_)
        self.is_frame[[vocabulary.roles[role] for role in _FRAME if role in vocabulary.roles]] = True

    def __call__(self, rows: FramedRows, text: NDArray[np.unsignedinteger] | None, keys: Keys) -> SpanMaskedRows:
        """Hide spans, a function of each row, of its key and of the text; the rows given are left as they are.

        Args:
            rows: what to hide them in.
            text: what the rows are from; None where that is not known, and random tokens are not drawn from it.
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
            # One more than the words that begin behind the first token.
            words=1 + starts.take(first + lengths - 1) - starts.take(first),
            bounded=inside.take(first - 1) & inside.take(first + lengths),
        )

    def _random(self, text: NDArray[np.unsignedinteger] | None, random: NDArray[np.uint64]) -> NDArray[np.int64]:
        if self.settings.random_tokens == "ordinary":
            ordinary = self.vocabulary.ordinary_ids
            return ordinary.take(as_integers(random, len(ordinary)))
        assert text is not None, "rows whose source does not hand out its text"
        return tokens_of(text, random, self.vocabulary.is_special)


def boundary_targets(rows: SpanMaskedRows, most: int) -> BoundaryTargets:
    """The tokens that are predicted from the boundaries of their spans: those of spans with text on both sides.

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
