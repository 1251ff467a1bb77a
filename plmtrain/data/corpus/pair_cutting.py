"""Cutting documents into pairs of segments, by the code of BERT and of ALBERT (``create_pretraining_data.py`` in both).

Sentences of a document are taken together until they fill a row, and the stretch is cut in two between any two of them: segments
A and B. For next sentence prediction (Devlin et al. 2019, section 3.1, Task 2) half of all B are then taken from another
document, and the sentences that B was to have are put back; for sentence order (Lan et al. 2020, section 3.1) half of all pairs
change places. A pair that is too long loses tokens of its longer segment, one by one, from either end.

Whether and where is a function of the copy and of the sentence that a pair begins with, and of nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from plmtrain.data.tables.examples import kept_lengths
from plmtrain.keyed_random import Bits, Keys, as_integers, as_uniform, bits, row_bits, spread_at

Relation = Literal["next", "order"]
"""What the second segment of a pair is to the first: what follows, or something from another document (``next``); what follows,
or what stands before it (``order``)."""

Indices = NDArray[np.int64]

_ONES = np.array([bin(byte).count("1") for byte in range(256)], np.int64)
"""How many bits of each byte are set."""


@dataclass(frozen=True, kw_only=True)
class Text:
    """Where the parts of a text are.

    Args:
        documents: [documents + 1] where each document starts; its last token is an end mark, which no segment holds.
        sentences: [sentences + 1] where each sentence starts.
        contents: [documents] a number that documents of the same text share; None where no two do.
    """

    documents: Indices
    sentences: Indices
    contents: NDArray[np.uint64] | None = None

    def ends(self, documents: Indices) -> Indices:
        """Where the text of some documents ends: their end marks."""
        return np.asarray(self.documents[documents + 1]) - 1

    @cached_property
    def _by_content(self) -> tuple[Indices, Indices, Indices]:
        """All documents, those of the same text side by side; for each where its like begin among them, and how many they are."""
        assert self.contents is not None
        order = np.argsort(self.contents, kind="stable")
        ordered = self.contents[order]
        low, high = (np.searchsorted(ordered, self.contents, side=side) for side in ("left", "right"))
        return order, low, high - low

    def others(self, documents: Indices, random: Bits) -> Indices:
        """For each document another one, of another text, each of them being equally likely.  # [n] documents, [n] numbers"""
        count = len(self.documents) - 1
        if self.contents is None:
            drawn = as_integers(random, count - 1)
            return drawn + (drawn >= documents)
        order, low, alike = self._by_content
        drawn = as_integers(random, count - alike[documents])
        return order[drawn + np.where(drawn >= low[documents], alike[documents], 0)]


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Pairs of segments, by where they are.

    Args:
        starts: [pairs, 2] the first token of each segment.
        lengths: [pairs, 2] tokens of each.
        changed: [pairs] whether the second segment is not what follows the first: it is from elsewhere, or stood before it.
    """

    starts: Indices
    lengths: Indices
    changed: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.changed)


@dataclass(frozen=True, kw_only=True)
class Cutting:
    """How a text is cut.

    Args:
        relation: of the second segment to the first.
        tokens: that a pair has at most; 2 or more.
        copies: how many times the text is cut, each time otherwise.
        short_share: how often a pair is cut to a random length instead, of 2 tokens or more.
    """

    relation: Relation
    tokens: int
    copies: int
    short_share: float


@dataclass(frozen=True, kw_only=True)
class _Stretches:
    """Sentences taken together, one stretch for each of some documents.

    Args:
        first: [n] the first sentence.
        cut: [n] the first sentence of what follows A.
        stop: [n] the first sentence behind the stretch.
        end: [n] where the document's text ends.
        target: [n] tokens that were to be filled.
        random: [n, 7] numbers for what else is drawn.
    """

    first: Indices
    cut: Indices
    stop: Indices
    end: Indices
    target: Indices
    random: Bits


def cut(text: Text, documents: Indices, cutting: Cutting) -> Pairs:
    """Cut some documents, in all copies.

    All documents and copies go forward together, a pair each at a time, so that the work is that of arrays and grows with the
    number of pairs.

    Args:
        text: where everything is.
        documents: [documents] which ones to cut, ascending.
        cutting: how. For ``next`` the documents must be of two texts or more.

    Returns:
        Document after document, the copies of one behind each other.
    """
    stream = np.repeat(documents, cutting.copies)
    copy = np.tile(np.arange(cutting.copies), len(documents))
    at = np.searchsorted(text.sentences, text.documents[stream])
    last = np.searchsorted(text.sentences, text.documents[stream + 1])  # the first sentence behind the document
    end = text.ends(stream)
    least = 1 if cutting.relation == "next" else 2
    active = np.flatnonzero(last - at >= least)
    found: list[tuple[Indices, Pairs]] = []
    while len(active):
        taken = _take(text.sentences, at[active], last[active], end[active], copy[active], cutting, least)
        if cutting.relation == "next":
            pairs, behind = _next(text, taken, stream[active])
        else:
            pairs, behind = _order(text, taken), taken.stop
        found.append((active, _fit(pairs, cutting.tokens, copy[active], taken.first)))
        at[active] = behind
        active = active[last[active] - behind >= least]
    return _joined(found)


def _take(
    sentences: Indices, first: Indices, last: Indices, end: Indices, copies: Indices, cutting: Cutting, least: int
) -> _Stretches:
    """A stretch of each document from a sentence on, and where it is cut."""
    random = bits("pairs.cut", Keys(0, copies, first), 7)
    short = as_uniform(random[:, 0]) < cutting.short_share
    # Both codes draw once for a document; drawn for each pair, a share of the pairs is short (Lan et al. 2020, section 4.1),
    # and a long document is not cut into thousands of crumbs.
    target = np.where(short, 2 + as_integers(random[:, 1], cutting.tokens - 1), cutting.tokens)
    stop = np.clip(np.searchsorted(sentences, sentences[first] + target), first + least, last)
    # A ends before any but the first of the sentences; where there is one alone it has all of that.
    cut = first + 1 + as_integers(random[:, 2], np.maximum(stop - first - 1, 1))
    return _Stretches(first=first, cut=cut, stop=stop, end=end, target=target, random=random)


def _next(text: Text, taken: _Stretches, own: Indices) -> tuple[Pairs, Indices]:
    """Pairs whose second segment may be from another document, and the sentence behind what they used."""
    sentences, random = text.sentences, taken.random
    first, follows = sentences[taken.first], np.minimum(sentences[taken.cut], taken.end)
    changed = (taken.cut == taken.stop) | (as_uniform(random[:, 3]) < 0.5)

    # Any sentence of any other document to begin with.
    other = text.others(own, random[:, 4])
    opening = np.searchsorted(sentences, text.documents[other])
    closing = np.searchsorted(sentences, text.documents[other + 1])
    start = opening + as_integers(random[:, 5], closing - opening)
    wanted = np.maximum(taken.target - (follows - first), 1)
    stop = np.minimum(np.searchsorted(sentences, sentences[start] + wanted), closing)

    second = np.where(changed, sentences[start], follows)
    ends = np.where(changed, np.minimum(sentences[stop], text.ends(other)), np.minimum(sentences[taken.stop], taken.end))
    pairs = Pairs(
        starts=np.stack([first, second], axis=1), lengths=np.stack([follows - first, ends - second], axis=1), changed=changed
    )
    return pairs, np.where(changed, taken.cut, taken.stop)


def _order(text: Text, taken: _Stretches) -> Pairs:
    """Pairs that may have changed places."""
    sentences = text.sentences
    starts = np.stack([sentences[taken.first], sentences[taken.cut]], axis=1)
    lengths = np.stack([starts[:, 1], np.minimum(sentences[taken.stop], taken.end)], axis=1) - starts
    changed = as_uniform(taken.random[:, 3]) < 0.5
    starts[changed], lengths[changed] = starts[changed, ::-1], lengths[changed, ::-1]
    return Pairs(starts=starts, lengths=lengths, changed=changed)


def _fit(pairs: Pairs, tokens: int, copies: Indices, first: Indices) -> Pairs:
    """Pairs of so many tokens at most: each token that the longer segment loses is its first or its last, as a coin falls."""
    kept = np.stack(kept_lengths(pairs.lengths[:, 0], pairs.lengths[:, 1], tokens), axis=1)
    excess = pairs.lengths - kept
    starts = pairs.starts.copy()
    for side, purpose in enumerate(("pairs.first", "pairs.second")):
        long = np.flatnonzero(excess[:, side])
        starts[long, side] += _heads(row_bits(purpose, Keys(0, copies[long], first[long])), excess[long, side])
    return Pairs(starts=starts, lengths=kept, changed=pairs.changed)


def _heads(random: Bits, coins: Indices) -> Indices:
    """How many of some coins show heads.

    Args:
        random: [n] a number each.
        coins: [n] how many coins each throws, 1 or more.
    """
    words = -(-coins // 64)
    row = np.repeat(np.arange(len(coins)), words)
    number = np.arange(len(row)) - np.repeat(np.cumsum(words) - words, words)
    left = np.minimum(coins[row] - 64 * number, 64).astype(np.uint64)
    thrown = spread_at(random[row], number) >> (np.uint64(64) - left)
    heads = _ONES[thrown.view(np.uint8).reshape(-1, 8)].sum(axis=1)
    counted: Indices = np.bincount(row, weights=heads, minlength=len(coins)).astype(np.int64)
    return counted


def _joined(found: list[tuple[Indices, Pairs]]) -> Pairs:
    """All pairs, in the order of the streams that they are from and, within one, in the order of their finding."""
    if not found:
        return Pairs(starts=np.empty((0, 2), np.int64), lengths=np.empty((0, 2), np.int64), changed=np.empty(0, np.bool_))
    order = np.argsort(np.concatenate([streams for streams, _ in found]), kind="stable")
    parts = [pairs for _, pairs in found]
    return Pairs(
        starts=np.concatenate([pairs.starts for pairs in parts])[order],
        lengths=np.concatenate([pairs.lengths for pairs in parts])[order],
        changed=np.concatenate([pairs.changed for pairs in parts])[order],
    )
