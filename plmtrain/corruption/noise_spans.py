"""Which tokens of a text are cut out of it, in spans or one by one (Raffel et al. 2020, sections 3.1.4 and 3.3, and the authors'
code).

Texts of several lengths stand one after another in flat arrays, without padding.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from plmtrain.corruption.grouping import Indices
from plmtrain.corruption.masking import choose_tokens
from plmtrain.keyed_random import Bits, as_integers, orders, spread_at

Noise = NDArray[np.bool_]
"""[tokens] whether each token of some texts is cut out."""


def counts_of(lengths: Indices, rate: float, mean_span_length: float) -> tuple[Indices, Indices]:
    """Return how many tokens are cut out of texts, and in how many spans: both shares are rounded, halves to even numbers.

    Args:
        lengths: [texts] tokens of each, at least 2.
        rate: the share of tokens that is cut out.
        mean_span_length: the mean length of a span.
    """
    assert lengths.min(initial=2) >= 2, "a text needs a token to keep and one to cut out"
    noise = np.clip(np.rint(lengths * rate).astype(np.int64), 1, lengths - 1)
    spans = np.maximum(1, np.rint(noise / mean_span_length).astype(np.int64))
    return noise, np.minimum(spans, np.minimum(noise, lengths - noise))


def random_spans(lengths: Indices, rate: float, mean_span_length: float, random: Bits) -> Noise:
    """Cut spans out of texts: the numbers of tokens and spans are exact, every way to divide them being equally likely.

    The tokens that are kept and those that are cut out are both divided into as many pieces as there are spans. A piece that is
    kept comes first, so that a text never begins with a span and always ends with one.

    Args:
        lengths, rate, mean_span_length: as for ``counts_of``.
        random: [2, texts] numbers.
    """
    noise, spans = counts_of(lengths, rate, mean_span_length)
    pieces = np.stack([_divided(lengths - noise, spans, random[0]), _divided(noise, spans, random[1])], axis=1)
    return np.repeat(np.tile([False, True], len(pieces)), pieces.reshape(-1))


def _divided(totals: Indices, parts: Indices, random: Bits) -> Indices:
    """Divide numbers into parts of at least one, every way being equally likely.

    Args:
        totals: [texts] what is divided.
        parts: [texts] into how many parts, at least one and at most the total.
        random: [texts] numbers.

    Returns:
        [all parts] text by text.
    """
    width = int(totals.max(initial=0))
    # A part begins at the first token, and at parts - 1 of the others.
    excluded = np.arange(1, width) >= totals[:, None]
    others = choose_tokens(orders(random, width - 1), excluded, parts - 1)
    row, column = np.divmod(others, max(1, width - 1))
    offsets = np.cumsum(totals) - totals
    begins = np.empty(int(parts.sum()), np.int64)
    first = np.cumsum(parts) - parts
    is_first = np.zeros(len(begins), np.bool_)
    is_first[first] = True
    begins[first] = offsets
    begins[~is_first] = offsets.take(row) + column + 1
    return np.diff(begins, append=totals.sum())


def independent(lengths: Indices, rate: float, most_spans: int | None, random: Bits) -> Noise:
    """Cut out each token by itself, with the same probability; tokens that touch are one span.

    Args:
        lengths: [texts] tokens of each.
        rate: the probability.
        most_spans: of a text; further ones are kept. None for no limit.
        random: [texts] numbers.
    """
    row = np.repeat(np.arange(len(lengths)), lengths)
    begins = np.cumsum(lengths) - lengths
    drawn = spread_at(random.take(row), np.arange(len(row)) - begins.take(row))
    noise: Noise = drawn < np.uint64(round(rate * 2.0**64))
    if most_spans is not None:
        number = np.cumsum(span_starts(noise, begins))
        before = np.concatenate([[0], number]).take(begins)  # the spans of earlier texts
        noise &= number - before.take(row) <= most_spans
    return noise


def suffixes(lengths: Indices, random: Bits) -> Noise:
    """Cut the end off texts: from 1 token to all but one, each number being equally likely.

    Args:
        lengths: [texts] tokens of each, at least 2.
        random: [texts] numbers.
    """
    assert lengths.min(initial=2) >= 2, "a text needs a token to keep and one to cut off"
    kept = as_integers(random, lengths - 1) + 1
    pieces = np.stack([kept, lengths - kept], axis=1)
    return np.repeat(np.tile([False, True], len(pieces)), pieces.reshape(-1))


def span_starts(noise: Noise, begins: Indices) -> Noise:
    """Return which tokens a span begins with.

    Args:
        noise: [tokens].
        begins: [texts] the first token of each text.
    """
    starts = noise.copy()
    starts[1:] &= ~noise[:-1]
    begins = begins[begins < len(noise)]
    starts[begins] = noise[begins]
    return starts


def text_length(longest: int, rate: float, mean_span_length: float, closing_sentinel: bool) -> int:
    """Return the length of the longest text whose two parts have at most so many tokens, without the marks that end them.

    Args:
        longest: the most tokens of a part, at least 3.
        rate, mean_span_length: as for ``counts_of``.
        closing_sentinel: whether the part that was cut out ends with a sentinel of its own.
    """

    def fits(length: int) -> bool:
        noise, spans = (int(count[0]) for count in counts_of(np.array([length]), rate, mean_span_length))
        return max(length - noise + spans, noise + spans + closing_sentinel) <= longest

    length = 2
    while fits(length + 1):
        length += 1
    return length
