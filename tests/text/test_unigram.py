"""The Unigram trainer against sums over all ways to cut a word, written out."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest

from plmtrain.text import unigram
from plmtrain.text.unigram import train_unigram

PIECES = {"a": -2.0, "b": -2.5, "c": -3.0, "ab": -3.2, "bc": -4.0, "abc": -6.5, "aa": -3.9, "ca": -4.7}
WORDS = {"abc": 3, "aabca": 2, "b": 5, "caab": 1, "abcabc": 4, "zb": 7}


def cuts(word: str) -> Iterator[tuple[str, ...]]:
    """Every way to cut a word into known pieces."""
    if not word:
        yield ()
    for end in range(1, len(word) + 1):
        if word[:end] in PIECES:
            for rest in cuts(word[end:]):
                yield (word[:end], *rest)


def weight(cut: tuple[str, ...]) -> float:
    return sum(PIECES[piece] for piece in cut)


def lattices() -> tuple[list[str], list[unigram._Lattices], np.ndarray]:
    names = list(PIECES)
    ids = {name: number for number, name in enumerate(names)}
    return names, unigram._lattices(WORDS, ids), np.array([PIECES[name] for name in names])


def test_expected_counts_are_those_over_all_cuts() -> None:
    names, text, scores = lattices()
    expected = dict.fromkeys(names, 0.0)
    for word, count in WORDS.items():
        ways = list(cuts(word))
        whole = sum(math.exp(weight(way)) for way in ways)
        for way in ways:
            for piece in way:
                expected[piece] += count * math.exp(weight(way)) / whole
    np.testing.assert_allclose(unigram._expected(text, scores), [expected[name] for name in names], rtol=1e-12)


@pytest.mark.parametrize("whole", [True, False])
def test_the_best_cut_is_the_likeliest_of_all(whole: bool) -> None:
    names, text, scores = lattices()
    known = np.append(scores, -np.inf)
    words = sorted(WORDS, key=lambda word: (len(word), word))
    for part in text:
        best, last = unigram._best(part, known, whole=whole)
        steps = unigram._walk(part, last)
        for row in range(len(part.weights)):
            word = words.pop(0)
            ways = [way for way in cuts(word) if whole or len(way) > 1]
            if not ways:
                assert best[row] == -np.inf
                continue
            likeliest = max(ways, key=weight)
            assert best[row] == pytest.approx(weight(likeliest))
            found = [names[int(pieces[list(rows).index(row)])] for rows, pieces in steps if row in rows]
            assert tuple(reversed(found)) == likeliest


def test_digamma_is_the_slope_of_log_gamma() -> None:
    x = np.array([0.5, 1.0, 2.5, 6.999, 7.0, 40.0, 1e6])
    slope = [(math.lgamma(v + 1e-5 * v) - math.lgamma(v - 1e-5 * v)) / (2e-5 * v) for v in x]
    np.testing.assert_allclose(unigram._digamma(x), slope, rtol=1e-6, atol=1e-6)
    assert unigram._digamma(np.array([1.0]))[0] == pytest.approx(-0.5772156649015329, abs=1e-9)


def test_probabilities_add_up_and_the_alphabet_stays() -> None:
    words = {"▁the": 500, "▁then": 60, "▁other": 90, "▁cat": 30, "▁cats": 25, "▁q": 1}
    alphabet = sorted(set("".join(words)))
    pieces = train_unigram(words, 40, alphabet)
    names = [name for name, _ in pieces]
    scores = [score for _, score in pieces]
    assert set(alphabet) <= set(names)
    assert len(pieces) == len(set(names)) <= 40
    assert scores == sorted(scores, reverse=True)
    assert sum(map(math.exp, scores)) <= 1 + 1e-6
    assert names[0] == "▁the"  # most of the text is that word


def test_the_size_is_kept_and_words_are_not_too_long_to_count() -> None:
    rng = np.random.default_rng(0)
    words = {"".join(rng.choice(list("abcdefgh"), rng.integers(1, 12))): int(rng.integers(1, 50)) for _ in range(3000)}
    words["ab" * 300] = 3
    words["h" * 200] = 2
    pieces = train_unigram(words, 300, list("abcdefgh"))
    assert len(pieces) == 300
    assert all(math.isfinite(score) and score < 0 for _, score in pieces)
    assert all(len(name) <= 16 for name, _ in pieces)
