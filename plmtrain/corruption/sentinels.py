"""The two parts of a text out of which spans are cut: what is kept, and what was cut out (Raffel et al. 2020, section 3.1.4)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from plmtrain.corruption.grouping import Indices
from plmtrain.corruption.noise_spans import Noise, span_starts


@dataclass(frozen=True, kw_only=True)
class TextParts:
    """The same part of some texts, one text after another.

    Args:
        ids: [tokens] token ids.
        lengths: [texts] the tokens of each text's part.
        origins: [tokens] the token of the text that each is, or that a sentinel stands for first; an index into all texts.
    """

    ids: NDArray[np.int64]
    lengths: Indices
    origins: Indices


def kept(ids: NDArray[np.int64], lengths: Indices, noise: Noise, sentinels: NDArray[np.int64] | None) -> TextParts:
    """Return texts without the spans that are cut out.

    Args:
        ids: [tokens] of all texts.
        lengths: [texts] tokens of each.
        noise: [tokens] what is cut out.
        sentinels: [any number] those that stand for the first span of a text, the second one and so on; None for none.
    """
    ends = np.cumsum(lengths)
    begins = ends - lengths
    if sentinels is None:
        origins = np.flatnonzero(~noise)
        return TextParts(ids=ids.take(origins), lengths=_counted(origins, begins, ends), origins=origins)
    starts = span_starts(noise, begins)
    origins = np.flatnonzero(~noise | starts)
    read = ids.take(origins)
    places = np.flatnonzero(starts.take(origins))  # of sentinels
    read[places] = _in_turn(sentinels, _counted(origins.take(places), begins, ends))
    return TextParts(ids=read, lengths=_counted(origins, begins, ends), origins=origins)


def cut_out(
    ids: NDArray[np.int64], lengths: Indices, noise: Noise, sentinels: NDArray[np.int64] | None, *, closing: bool = False
) -> TextParts:
    """Return the spans that are cut out of texts, each after its sentinel.

    Args:
        ids, lengths, noise, sentinels: as in ``kept``.
        closing: whether the sentinel after those of a text's spans follows the last span, as in the paper's figure 2.
    """
    if sentinels is None:
        return kept(ids, lengths, ~noise, None)
    ends = np.cumsum(lengths)
    begins = ends - lengths
    tokens = np.flatnonzero(noise)
    starts = span_starts(noise, begins).take(tokens)
    spans = _counted(tokens[starts], begins, ends)
    places = np.arange(len(tokens)) + np.cumsum(starts)  # of tokens, each after the sentinels up to its own
    origins = np.empty(len(tokens) + int(spans.sum()), np.int64)
    origins[places] = tokens
    before = places[starts] - 1
    origins[before] = tokens[starts]
    written = ids.take(origins)
    written[before] = _in_turn(sentinels, spans)
    counts = _counted(tokens, begins, ends) + spans
    if closing:
        last = np.cumsum(counts)
        written, origins = np.insert(written, last, sentinels.take(spans)), np.insert(origins, last, ends - 1)
        counts = counts + 1
    return TextParts(ids=written, lengths=counts, origins=origins)


def _in_turn(sentinels: NDArray[np.int64], spans: Indices) -> NDArray[np.int64]:
    """Return the sentinel of each span, from the first one on in each text.  # [texts] -> [spans]"""
    return sentinels.take(np.arange(int(spans.sum())) - np.repeat(np.cumsum(spans) - spans, spans))


def _counted(tokens: Indices, begins: Indices, ends: Indices) -> Indices:
    """Return how many of some tokens, ascending, are of each text."""
    return np.searchsorted(tokens, ends) - np.searchsorted(tokens, begins)
