"""What is cut out of texts, against the definition in the authors' code: exact numbers, and every division equally likely."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import numpy as np
import pytest

from plmtrain.corruption import noise_spans
from plmtrain.corruption.sentinels import cut_out, kept
from plmtrain.keyed_random import Bits, Keys, several_row_bits

SENTINELS = np.arange(1400, 1000, -1)


def bits(rows: int, epoch: int = 0) -> Bits:
    return several_row_bits(("one", "two"), Keys(3, np.full(rows, epoch), np.arange(rows)))


def original_counts(length: int, rate: float, mean: float) -> tuple[int, int]:
    """random_spans_noise_mask of the authors' preprocessors.py."""
    noise = min(max(round(length * rate), 1), length - 1)
    return noise, max(round(noise / mean), 1)


def original_length(longest: int, rate: float, mean: float) -> tuple[int, int]:
    """random_spans_helper of the authors' preprocessors.py: the text's length, and the target's with its end mark."""

    def lengths(tokens: int) -> tuple[int, int]:
        noise, spans = round(tokens * rate), round(round(tokens * rate) / mean)
        return tokens - noise + spans + 1, noise + spans + 1

    length = longest - 1
    while lengths(length + 1)[0] <= longest:
        length += 1
    return length, lengths(length)[1]


def test_the_length_of_a_text_is_that_of_the_authors_code() -> None:
    published = {128: (141, 29), 256: (284, 58), 512: (568, 114), 1024: (1137, 229)}
    for longest in (*range(16, 260), 512, 1024):
        length = noise_spans.text_length(longest - 1, 0.15, 3.0, closing_sentinel=False)
        noise, spans = (int(count[0]) for count in noise_spans.counts_of(np.array([length]), 0.15, 3.0))
        assert (length, noise + spans + 1) == original_length(longest, 0.15, 3.0)
        assert length - noise + spans + 1 == longest  # no place of the encoder's row is left over
        assert (length, noise + spans + 1) == published.get(longest, (length, noise + spans + 1))


@pytest.mark.parametrize(("rate", "mean"), [(0.15, 3.0), (0.1, 2.0), (0.25, 3.0), (0.5, 10.0), (0.15, 1.0), (0.5, 1.0)])
def test_numbers_are_exact_and_what_was_cut_out_fits_into_its_gaps(rate: float, mean: float) -> None:
    lengths = np.array([*range(2, 40), 40, 141, 568])
    noise = noise_spans.random_spans(lengths, rate, mean, bits(len(lengths)))
    assert len(noise) == lengths.sum()
    ids = np.arange(len(noise)) % 700
    read, written = kept(ids, lengths, noise, SENTINELS), cut_out(ids, lengths, noise, SENTINELS)
    for row, (length, end) in enumerate(zip(lengths.tolist(), np.cumsum(lengths).tolist(), strict=True)):
        own, text = noise[end - length : end], ids[end - length : end].tolist()
        count, spans = original_counts(length, rate, mean)
        spans = min(spans, count, length - count)
        assert own.sum() == count
        assert [key for key, _ in itertools.groupby(own.tolist())] == [False, True] * spans
        inside = slice(int(read.lengths[:row].sum()), int(read.lengths[: row + 1].sum()))
        outside = slice(int(written.lengths[:row].sum()), int(written.lengths[: row + 1].sum()))
        gaps, pieces = read.ids[inside].tolist(), written.ids[outside].tolist()
        assert (len(gaps), len(pieces)) == (length - count + spans, count + spans)
        used = [token for token in gaps if token > 1000]
        assert used == [token for token in pieces if token > 1000] == SENTINELS[:spans].tolist()
        restored: list[int] = []
        for token in gaps:
            if token > 1000:
                following = pieces[pieces.index(token) + 1 :]
                restored += itertools.takewhile(lambda other: other <= 1000, following)
            else:
                restored.append(token)
        assert restored == text
        assert ids[read.origins[inside]][np.array(gaps) <= 1000].tolist() == [token for token in gaps if token <= 1000]


def test_every_division_is_equally_likely() -> None:
    """Of a text of 12 tokens, 4 in 2 spans: three ways to divide what is cut out, seven to divide what is kept."""
    rows = 21_000
    noise = noise_spans.random_spans(np.full(rows, 12), 1 / 3, 2.0, bits(rows)).reshape(rows, 12)
    shapes = Counter(tuple(row) for row in noise.tolist())
    assert len(shapes) == 21
    expected, chi = rows / 21, 0.0
    chi = sum((count - expected) ** 2 / expected for count in shapes.values())
    assert chi < 20 + 5 * math.sqrt(40)
    again = noise_spans.random_spans(np.full(rows, 12), 1 / 3, 2.0, bits(rows, epoch=1)).reshape(rows, 12)
    assert 0.9 < (noise != again).any(axis=1).mean() < 1


def test_a_row_is_the_same_in_any_batch() -> None:
    lengths, random = np.array([30, 7, 50, 30]), bits(4)
    together = noise_spans.random_spans(lengths, 0.15, 3.0, random)
    by_token = noise_spans.independent(lengths, 0.3, 2, random[0])
    ends = noise_spans.suffixes(lengths, random[0])
    for row in range(4):
        place = slice(int(lengths[:row].sum()), int(lengths[: row + 1].sum()))
        alone = slice(row, row + 1)
        assert (noise_spans.random_spans(lengths[alone], 0.15, 3.0, random[:, alone]) == together[place]).all()
        assert (noise_spans.independent(lengths[alone], 0.3, 2, random[0, alone]) == by_token[place]).all()
        assert (noise_spans.suffixes(lengths[alone], random[0, alone]) == ends[place]).all()


def test_tokens_by_themselves_and_no_more_spans_than_sentinels() -> None:
    rows, length, rate = 4000, 50, 0.15
    lengths = np.full(rows, length)
    noise = noise_spans.independent(lengths, rate, None, bits(rows)[0]).reshape(rows, length)
    error = 5 * math.sqrt(rate * (1 - rate) / rows)
    assert (abs(noise.mean(axis=0) - rate) < error).all()
    assert abs((noise[:, 1:] & noise[:, :-1]).mean() - rate**2) < error
    limited = noise_spans.independent(lengths, rate, 3, bits(rows)[0]).reshape(rows, length)
    for whole, some in zip(noise.tolist(), limited.tolist(), strict=True):
        spans = [list(group) for key, group in itertools.groupby(range(length), key=whole.__getitem__) if key]
        assert [place for place in range(length) if some[place]] == sum(spans[:3], [])  # noqa: RUF017


def test_where_a_text_begins_with_what_is_cut_out_and_how_it_is_closed() -> None:
    ids, lengths = np.array([1, 2, 3, 4, 5, 6, 7]), np.array([4, 3])
    noise = np.array([True, False, True, True, True, True, False])
    read, written = kept(ids, lengths, noise, SENTINELS), cut_out(ids, lengths, noise, SENTINELS, closing=True)
    assert read.ids.tolist() == [1400, 2, 1399, 1400, 7]
    assert read.lengths.tolist() == [3, 2]
    assert written.ids.tolist() == [1400, 1, 1399, 3, 4, 1398, 1400, 5, 6, 1399]
    assert written.lengths.tolist() == [6, 4]
    assert written.origins.tolist() == [0, 0, 2, 2, 3, 3, 4, 4, 5, 6]
    assert kept(ids, lengths, noise, None).ids.tolist() == [2, 7]
    assert cut_out(ids, lengths, noise, None).ids.tolist() == [1, 3, 4, 5, 6]


def test_a_prefix_has_any_length_but_none_and_all() -> None:
    rows = 6000
    ends = noise_spans.suffixes(np.full(rows, 7), bits(rows)[0]).reshape(rows, 7)
    lengths = Counter((~ends).sum(axis=1).tolist())
    assert set(lengths) == set(range(1, 7))
    assert all(abs(count - 1000) < 5 * math.sqrt(1000) for count in lengths.values())
    assert all([key for key, _ in itertools.groupby(row)] == [False, True] for row in ends.tolist())
