"""Cut documents into pairs of segments, as in the code of BERT and of ALBERT (``create_pretraining_data.py`` in both).

Consecutive sentences of a document are taken until they fill a row, and this stretch is cut between two of them into segments A
and B. For next sentence prediction (Devlin et al. 2019, section 3.1, Task 2) half of all B are then taken from another
document, and the sentences of the original B are used again for the next pair. For sentence order (Lan et al. 2020, section 3.1)
the segments of half of all pairs change places. A pair that is too long loses tokens of its longer segment, one by one, from
either end. The length that pairs are to have is drawn once for each document, as in both codes, and is a function of the copy and
of the document.

Replaced token detection (Clark et al. 2020; ``build_pretraining_dataset.py``) has a simpler cut: segment A is about half of the
stretch or, in some rows, all of it, B is the rest, and what does not fit is cut off at the end.

All other random decisions are a function of the copy and of the sentence that a pair begins with, and of nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from plmtrain.data.tables.examples import kept_lengths
from plmtrain.keyed_random import Bits, Keys, as_integers, as_uniform, bits, row_bits, spread_at

Relation = Literal["next", "order", "within"]
"""The relation of a pair's second segment to the first: the continuation, or something from another document (``next``); the
continuation, or the text before it (``order``); always the continuation, which may be empty (``within``)."""

Indices = NDArray[np.int64]

_FRAME = 3
"""Special tokens around a pair in ELECTRA's code, which does not subtract them from the length of a stretch."""

_ONES = np.array([bin(byte).count("1") for byte in range(256)], np.int64)
"""The number of set bits of each byte."""


@dataclass(frozen=True, kw_only=True)
class Text:
    """The parts of a text.

    Args:
        documents: [documents + 1] where each document starts; its last token is an end mark, which belongs to no segment.
        sentences: [sentences + 1] where each sentence starts.
        contents: [documents] a number that documents of equal text share; None where no two are equal.
    """

    documents: Indices
    sentences: Indices
    contents: NDArray[np.uint64] | None = None

    def ends(self, documents: Indices) -> Indices:
        """Return where the text of some documents ends: their end marks."""
        return np.asarray(self.documents[documents + 1]) - 1

    @cached_property
    def _by_content(self) -> tuple[Indices, Indices, Indices]:
        """All documents, sorted by text; for each the place of the first equal one in that order, and how many are equal."""
        assert self.contents is not None
        order = np.argsort(self.contents, kind="stable")
        ordered = self.contents[order]
        low, high = (np.searchsorted(ordered, self.contents, side=side) for side in ("left", "right"))
        return order, low, high - low

    def others(self, documents: Indices, random: Bits) -> Indices:
        """Draw for each document another one, of another text, all with the same probability.  # [n] documents, [n] numbers"""
        count = len(self.documents) - 1
        if self.contents is None:
            drawn = as_integers(random, count - 1)
            return drawn + (drawn >= documents)
        order, low, alike = self._by_content
        drawn = as_integers(random, count - alike[documents])
        return order[drawn + np.where(drawn >= low[documents], alike[documents], 0)]


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Pairs of segments, by their places in the text.

    Args:
        starts: [pairs, 2] the first token of each segment.
        lengths: [pairs, 2] tokens of each.
        changed: [pairs] whether the second segment is not the continuation of the first: it is from elsewhere, or precedes it.
    """

    starts: Indices
    lengths: Indices
    changed: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.changed)


@dataclass(frozen=True, kw_only=True)
class Cutting:
    """The rules by which a text is cut.

    Args:
        relation: of the second segment to the first.
        tokens: the most tokens of a pair; 2 or more.
        copies: how many times the text is cut, differently each time.
        short_share: the share of documents whose pairs are cut to a random length instead, of 2 tokens or more; for ``within``
            the share of pairs.
        one_segment_share: the share of pairs whose second segment is empty although there is more text (``within`` alone).
    """

    relation: Relation
    tokens: int
    copies: int
    short_share: float
    one_segment_share: float = 0.0


@dataclass(frozen=True, kw_only=True)
class _Stretches:
    """Consecutive sentences, one stretch for each of some documents.

    Args:
        first: [n] the first sentence.
        cut: [n] the first sentence after segment A.
        stop: [n] the first sentence after the stretch.
        end: [n] where the document's text ends.
        target: [n] the tokens that the stretch was to fill.
        random: [n, 4] numbers for the other draws.
    """

    first: Indices
    cut: Indices
    stop: Indices
    end: Indices
    target: Indices
    random: Bits


def cut(text: Text, documents: Indices, cutting: Cutting) -> Pairs:
    """Cut some documents, in all copies.

    All documents and copies are processed together, one pair of each at a time, so that the work is vectorised and proportional
    to the number of pairs.

    Args:
        text: its documents and sentences.
        documents: [documents] which ones to cut, ascending.
        cutting: the rules. For ``next`` there must be documents of at least two different texts.

    Returns:
        The pairs document by document, and within a document copy by copy.
    """
    stream = np.repeat(documents, cutting.copies)
    copy = np.tile(np.arange(cutting.copies), len(documents))
    at = np.searchsorted(text.sentences, text.documents[stream])
    last = np.searchsorted(text.sentences, text.documents[stream + 1])  # the first sentence after the document
    end = text.ends(stream)
    target = _targets(stream, copy, cutting)
    least = 2 if cutting.relation == "order" else 1
    active = np.flatnonzero(last - at >= least)
    by_stream: list[tuple[Indices, Pairs]] = []
    while len(active):
        stretch = text.sentences, at[active], last[active], end[active]
        if cutting.relation == "within":
            pairs, at[active] = _within(*stretch, copy[active], cutting)
        else:
            taken = _take(*stretch, target[active], copy[active], least)
            if cutting.relation == "next":
                pairs, at[active] = _next(text, taken, stream[active])
            else:
                pairs, at[active] = _order(text, taken), taken.stop
            pairs = _fit(pairs, cutting.tokens, copy[active], taken.first)
        by_stream.append((active, pairs))
        active = active[last[active] - at[active] >= least]
    return _joined(by_stream)


def _targets(documents: Indices, copies: Indices, cutting: Cutting) -> Indices:
    """Return the tokens that the pairs of each document are to have, drawn once for all its pairs in a copy.

    A document that is cut into short pairs has more of them, so that more than ``short_share`` of all pairs are short.
    """
    random = bits("pairs.target", Keys(0, copies, documents), 2)
    short = as_uniform(random[:, 0]) < cutting.short_share
    return np.where(short, 2 + as_integers(random[:, 1], cutting.tokens - 1), cutting.tokens)


def _take(
    sentences: Indices, first: Indices, last: Indices, end: Indices, target: Indices, copies: Indices, least: int
) -> _Stretches:
    """Take a stretch of each document from a sentence on, and decide where it is cut."""
    random = bits("pairs.cut", Keys(0, copies, first), 4)
    stop = np.clip(np.searchsorted(sentences, sentences[first] + target), first + least, last)
    # The cut is before any but the first of the sentences; a single sentence belongs to A entirely.
    cut = first + 1 + as_integers(random[:, 0], np.maximum(stop - first - 1, 1))
    return _Stretches(first=first, cut=cut, stop=stop, end=end, target=target, random=random)


def _next(text: Text, taken: _Stretches, own: Indices) -> tuple[Pairs, Indices]:
    """Return pairs whose second segment may be from another document, and the first sentence that they did not use."""
    sentences, random = text.sentences, taken.random
    first, follows = sentences[taken.first], np.minimum(sentences[taken.cut], taken.end)
    changed = (taken.cut == taken.stop) | (as_uniform(random[:, 1]) < 0.5)

    # The second segment begins at a random sentence of a random other document.
    other = text.others(own, random[:, 2])
    opening = np.searchsorted(sentences, text.documents[other])
    closing = np.searchsorted(sentences, text.documents[other + 1])
    start = opening + as_integers(random[:, 3], closing - opening)
    wanted = np.maximum(taken.target - (follows - first), 1)
    stop = np.minimum(np.searchsorted(sentences, sentences[start] + wanted), closing)

    second = np.where(changed, sentences[start], follows)
    ends = np.where(changed, np.minimum(sentences[stop], text.ends(other)), np.minimum(sentences[taken.stop], taken.end))
    pairs = Pairs(
        starts=np.stack([first, second], axis=1), lengths=np.stack([follows - first, ends - second], axis=1), changed=changed
    )
    return pairs, np.where(changed, taken.cut, taken.stop)


def _order(text: Text, taken: _Stretches) -> Pairs:
    """Return pairs whose segments may have changed places."""
    sentences = text.sentences
    starts = np.stack([sentences[taken.first], sentences[taken.cut]], axis=1)
    lengths = np.stack([starts[:, 1], np.minimum(sentences[taken.stop], taken.end)], axis=1) - starts
    changed = as_uniform(taken.random[:, 1]) < 0.5
    starts[changed], lengths[changed] = starts[changed, ::-1], lengths[changed, ::-1]
    return Pairs(starts=starts, lengths=lengths, changed=changed)


def _within(
    sentences: Indices, first: Indices, last: Indices, end: Indices, copies: Indices, cutting: Cutting
) -> tuple[Pairs, Indices]:
    """Return pairs of which the second segment continues the first or is empty, and the first sentence that they did not use."""
    random = bits("pairs.within", Keys(0, copies, first), 4)
    short = as_uniform(random[:, 0]) < cutting.short_share
    target = np.where(short, 2 + as_integers(random[:, 1], cutting.tokens - 1), cutting.tokens)
    begin = sentences[first]
    stop = np.clip(np.searchsorted(sentences, begin + target + _FRAME), first + 1, last)
    # The sentence that reaches half of the target belongs to either segment, at random. (In the authors' code short sentences
    # after it may still go to the first segment, out of their order.)
    halved = np.searchsorted(sentences, begin + target // 2) - (as_uniform(random[:, 2]) < 0.5)
    alone = as_uniform(random[:, 3]) < cutting.one_segment_share
    cut = np.where(alone, stop, np.clip(halved, first + 1, stop))
    second, ends = np.minimum(sentences[cut], end), np.minimum(sentences[stop], end)
    lengths = np.minimum(second - begin, cutting.tokens)
    lengths = np.stack([lengths, np.minimum(ends - second, cutting.tokens - lengths)], axis=1)
    return Pairs(starts=np.stack([begin, second], axis=1), lengths=lengths, changed=np.zeros(len(first), np.bool_)), stop


def _fit(pairs: Pairs, tokens: int, copies: Indices, first: Indices) -> Pairs:
    """Truncate pairs to a number of tokens: each token that the longer segment loses is, at random, its first or its last."""
    kept = np.stack(kept_lengths(pairs.lengths[:, 0], pairs.lengths[:, 1], tokens), axis=1)
    excess = pairs.lengths - kept
    starts = pairs.starts.copy()
    for side, purpose in enumerate(("pairs.first", "pairs.second")):
        long = np.flatnonzero(excess[:, side])
        starts[long, side] += _heads(row_bits(purpose, Keys(0, copies[long], first[long])), excess[long, side])
    return Pairs(starts=starts, lengths=kept, changed=pairs.changed)


def _heads(random: Bits, coins: Indices) -> Indices:
    """Return how many of some coins show heads.

    Args:
        random: [n] a number each.
        coins: [n] how many coins are thrown for each, 1 or more.
    """
    words = -(-coins // 64)
    row = np.repeat(np.arange(len(coins)), words)
    number = np.arange(len(row)) - np.repeat(np.cumsum(words) - words, words)
    left = np.minimum(coins[row] - 64 * number, 64).astype(np.uint64)
    thrown = spread_at(random[row], number) >> (np.uint64(64) - left)
    heads = _ONES[thrown.view(np.uint8).reshape(-1, 8)].sum(axis=1)
    counted: Indices = np.bincount(row, weights=heads, minlength=len(coins)).astype(np.int64)
    return counted


def _joined(by_stream: list[tuple[Indices, Pairs]]) -> Pairs:
    """Join all pairs in the order of their streams and, within one, in the order in which they were cut."""
    if not by_stream:
        return Pairs(starts=np.empty((0, 2), np.int64), lengths=np.empty((0, 2), np.int64), changed=np.empty(0, np.bool_))
    order = np.argsort(np.concatenate([streams for streams, _ in by_stream]), kind="stable")
    parts = [pairs for _, pairs in by_stream]
    return Pairs(
        starts=np.concatenate([pairs.starts for pairs in parts])[order],
        lengths=np.concatenate([pairs.lengths for pairs in parts])[order],
        changed=np.concatenate([pairs.changed for pairs in parts])[order],
    )
