"""Sentence permutation and document rotation (Lewis et al. 2020, section 2.2).

Both work on stretches: the tokens between two fixed ones (those that frame a row, and document ends), so that a sentence stays
in its document and a document keeps its end. The authors' code only handles rows that hold one document each.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from plmtrain.corruption.grouping import Indices, ranges, share_of, shuffled
from plmtrain.keyed_random import Bits, as_uniform, spread_at


@dataclass(frozen=True, kw_only=True)
class Permuted:
    """Sentences in a new order.

    Args:
        order: [rows * length] the token that stands at each place.
        first: [sentences] the first token of each sentence.
        moved: [rows * length] whether a token's sentence has another place among the sentences of its stretch.
    """

    order: Indices
    first: Indices
    moved: NDArray[np.bool_]


def permute_sentences(
    sentence_starts: NDArray[np.bool_], fixed: NDArray[np.bool_], share: float, choice: Bits, places: Bits
) -> Permuted:
    """Permute a share of each stretch's sentences among themselves.

    A sentence ends where the next one starts. So the last one ends with its stretch, and the beginning of a row counts as a
    sentence, as in the authors' code. There, however, sentences end at tokens that are a full stop, so that text without full
    stops is never permuted and a question stays with the sentence after it.

    Args:
        sentence_starts: [rows, length] whether a token begins a sentence.
        fixed: [rows, length] tokens that stay in place; the last of each row is one, padding included.
        share: of sentences, rounded up in each stretch.
        choice, places: [rows] random numbers: which sentences, and where to.
    """
    width = fixed.shape[1]
    first, lengths, still, stretch = _stretches(sentence_starts, fixed)
    row, column = np.divmod(first, width)
    count = len(first)
    chosen = np.arange(count)
    if share < 1:
        sizes = np.bincount(stretch)
        rank = chosen - (np.cumsum(sizes) - sizes).take(stretch)
        some = shuffled(stretch, spread_at(choice.take(row), column))
        chosen = np.sort(some[rank < share_of(sizes, share).take(stretch)])
    sentences = np.arange(count)
    random = spread_at(places.take(row.take(chosen)), column.take(chosen))
    sentences[chosen] = chosen.take(shuffled(stretch.take(chosen), random))
    order = ranges(first.take(sentences), lengths.take(sentences))
    moved = np.empty(count, np.bool_)
    moved[sentences] = sentences != np.arange(count)
    return Permuted(order=order, first=first[~still], moved=np.repeat(moved, lengths))


def _stretches(begins: NDArray[np.bool_], fixed: NDArray[np.bool_]) -> tuple[Indices, Indices, NDArray[np.bool_], Indices]:
    """Return the parts that rows consist of: first token, length, whether it is a single fixed token, and its stretch."""
    edges = begins.reshape(-1) | fixed.reshape(-1)
    edges[1:] |= fixed.reshape(-1)[:-1]
    edges[:1] = True
    first = np.flatnonzero(edges)
    lengths = np.diff(first, append=edges.size)
    still = fixed.reshape(-1).take(first)
    opens = still.copy()
    opens[1:] |= still[:-1]
    opens[:1] = True
    return first, lengths, still, np.cumsum(opens)


def rotation(fixed: NDArray[np.bool_], row: Indices, column: Indices, share: float, random: Bits) -> Indices:
    """Let stretches begin at a uniformly drawn token.

    Args:
        fixed: [tokens] whether a token stays in place, of concatenated rows; the first one does.
        row: [tokens] the row of each.
        column: [tokens] its place in the row.
        share: the probability that a stretch is rotated.
        random: [rows] numbers.

    Returns:
        [tokens] the token that stands at each place.
    """
    first, lengths, still, _ = _stretches(np.zeros((1, len(fixed)), np.bool_), fixed[None])
    numbers = random.take(row.take(first))
    rotated = as_uniform(spread_at(numbers, 2 * column.take(first))) < share
    begin = np.floor(as_uniform(spread_at(numbers, 2 * column.take(first) + 1)) * lengths).astype(np.int64)
    begin[still | ~rotated] = 0
    pieces = np.stack((first + begin, first), axis=1).reshape(-1)
    return ranges(pieces, np.stack((lengths - begin, begin), axis=1).reshape(-1))
