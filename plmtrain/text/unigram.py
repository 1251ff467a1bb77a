"""Training Unigram vocabularies (Kudo 2018, "Subword regularization", section 3.2), from word counts alone.

Seed pieces are the substrings that matter most; then expectation maximisation estimates how likely each is, and the quarter that
the text's likelihood misses least is dropped, again and again, until the vocabulary has its size. The order of steps and the
constants are SentencePiece's. The tokenizers library has such a trainer too, but it sums in the order of hash tables and threads,
so that equal texts give unequal scores, and it finds its seeds among different words rather than in running text, so that it
misses frequent words that are part of no other. Here every sum runs over sorted words in one thread.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from plmtrain.stopping import safe_point

Floats = NDArray[np.float64]
Ids = NDArray[np.int32]

_LONGEST_PIECE = 16  # characters
_MOST_SEEDS = 1_000_000
_MOST_WORDS = 500_000  # the most frequent; the others are so rare that their pieces would be dropped
_SEEDS_PER_PIECE = 10
_SHRINK = 0.75
_STEPS = 2  # of expectation maximisation between prunings
_SURPLUS = 1.1  # pruning stops at so many times the size; the last pieces go by their score alone
_LEAST_EXPECTED = 0.5
_LONGEST_WORD = 64  # characters
_PER_CHARACTER = 9.0  # about a character's score, see _expected
_DIGITS = 9  # of a score
_TOGETHER = 2**22  # scores in memory at a time


@dataclass(frozen=True)
class _Lattices:
    """All ways to cut some words of one length.

    Args:
        length: characters in each word.
        pieces: [words, spans] the seed that each span of each word is, or the number of seeds where it is none.
        weights: [words] how often each word occurs.
    """

    length: int
    pieces: Ids
    weights: Floats


@dataclass(frozen=True)
class _Own:
    """The seeds as if they were words.

    Args:
        lattices: all ways to cut them.
        seeds: [words] the seed that each word is, one lattice's words after another's.
    """

    lattices: Sequence[_Lattices]
    seeds: NDArray[np.int64]


def train_unigram(words: Mapping[str, int], size: int, alphabet: Sequence[str]) -> list[tuple[str, float]]:
    """Train a Unigram vocabulary.

    Args:
        words: the number of occurrences of each word.
        size: how many pieces at most, at least as many as the alphabet has.
        alphabet: characters that must be pieces.

    Returns:
        Pieces and their log probabilities, most likely first, ties in the order of their text.
    """
    kept = _shorter(dict(heapq.nsmallest(_MOST_WORDS, words.items(), key=lambda item: (-item[1], item[0]))))
    seeds = _seeds(kept, max(_SEEDS_PER_PIECE * size, 10_000), alphabet)
    names = [seed for seed, _ in seeds]
    ids = {name: number for number, name in enumerate(names)}
    required = np.zeros(len(names), np.bool_)
    required[[ids[character] for character in alphabet]] = True
    text = _lattices(kept, ids)
    counts = np.array([count for _, count in seeds], np.float64)
    scores = np.log(counts) - np.log(counts.sum())  # [seeds]; -inf for those that are dropped
    desired = max(int(size * _SURPLUS), len(alphabet))
    own: _Own | None = None
    while True:
        for _ in range(_STEPS):
            scores = _maximise(_expected(text, scores), required)
        alive = np.flatnonzero(np.isfinite(scores))
        if len(alive) <= desired:
            break
        own = own or _own(names, alive, ids)
        fewer = _prune(scores, text, own, required, max(desired, int(_SHRINK * len(alive))))
        if np.isfinite(fewer).sum() == len(alive):
            break
        scores = fewer
    return _final(names, scores, required, size)


def _shorter(words: Mapping[str, int]) -> Counter[str]:
    """The words, those cut into parts that would be too long for the arithmetic below; only scripts without spaces have any."""
    parts: Counter[str] = Counter()
    for word, count in words.items():
        for start in range(0, len(word), _LONGEST_WORD):
            parts[word[start : start + _LONGEST_WORD]] += count
    return parts


def _seeds(words: Mapping[str, int], most: int, alphabet: Sequence[str]) -> list[tuple[str, int]]:
    """The characters, and the substrings with the highest product of count and length that occur more than once."""
    counts: Counter[str] = Counter()
    for word in sorted(words):
        count = words[word]
        for start in range(len(word)):
            for end in range(start + 2, min(len(word), start + _LONGEST_PIECE) + 1):
                counts[word[start:end]] += count
    characters: Counter[str] = Counter(dict.fromkeys(alphabet, 1))
    for word, count in words.items():
        for character in word:
            characters[character] += count
    frequent = ((piece, count) for piece, count in counts.items() if count > 1)
    most = min(most, _MOST_SEEDS)
    best = heapq.nsmallest(most, frequent, key=lambda item: (-item[1] * len(item[0]), item[0]))
    return [*sorted(characters.items()), *best]


def _spans(length: int) -> list[tuple[int, int]]:
    """Beginning and end of each span of a word that may be a piece, in the order of their ends."""
    return [(start, end) for end in range(1, length + 1) for start in range(max(0, end - _LONGEST_PIECE), end)]


def _lattices(words: Mapping[str, int], ids: Mapping[str, int]) -> list[_Lattices]:
    """The lattices of some words, by length, those of a length in the order of their text, in parts that memory holds."""
    by_length: dict[int, list[str]] = {}
    for word in sorted(words):
        by_length.setdefault(len(word), []).append(word)
    none = len(ids)
    parts = []
    for length in sorted(by_length):
        spans = _spans(length)
        rows = max(1, _TOGETHER // len(spans))
        group = by_length[length]
        for first in range(0, len(group), rows):
            safe_point()
            part = group[first : first + rows]
            pieces = [[ids.get(word[start:end], none) for start, end in spans] for word in part]
            weights = np.array([words[word] for word in part], np.float64)
            parts.append(_Lattices(length, np.array(pieces, np.int32), weights))
    return parts


def _own(names: Sequence[str], alive: NDArray[np.int64], ids: Mapping[str, int]) -> _Own:
    """The seeds that are left, as words."""
    left = [names[int(number)] for number in alive]
    seeds = [ids[name] for name in sorted(left, key=lambda name: (len(name), name))]
    return _Own(_lattices(dict.fromkeys(left, 1), ids), np.array(seeds, np.int64))


def _expected(text: Sequence[_Lattices], scores: Floats) -> Floats:
    """How often each seed is expected to occur in the text: the forward-backward algorithm over all ways to cut each word."""
    # Every way to cut a word has as many characters, so that a factor for each character cancels. It keeps products of 64
    # probabilities between e**-600 and e**600: ten times as fast as sums of logarithms.
    known = np.append(scores, -np.inf)
    expected = np.zeros(len(known))
    for part in text:
        safe_point()
        spans = _spans(part.length)
        lengths = np.array([end - start for start, end in spans])
        pieces = np.ascontiguousarray(part.pieces.T)  # [spans, words]
        values = np.exp(known[pieces] + _PER_CHARACTER * lengths[:, None])
        forward = np.zeros((part.length + 1, len(part.weights)))
        backward = np.zeros_like(forward)
        forward[0] = backward[-1] = 1.0
        for span, (start, end) in enumerate(spans):
            forward[end] += forward[start] * values[span]
        for span, (start, end) in reversed(list(enumerate(spans))):
            backward[start] += backward[end] * values[span]
        # A word that the pieces left cannot make teaches nothing.
        whole = forward[-1]
        per_cut = np.divide(part.weights, whole, out=np.zeros_like(whole), where=whole > 0)
        for span, (start, end) in enumerate(spans):
            values[span] *= forward[start] * backward[end] * per_cut
        expected += np.bincount(pieces.ravel(), values.ravel(), minlength=len(known))
    return expected[:-1]


def _maximise(expected: Floats, required: NDArray[np.bool_]) -> Floats:
    """The scores that make these counts likeliest, under a sparse prior (as SentencePiece: digamma in place of the logarithm)."""
    expected = np.where(required, np.maximum(expected, _LEAST_EXPECTED), expected)
    alive = expected >= _LEAST_EXPECTED
    scores = np.full(len(expected), -np.inf)
    scores[alive] = _digamma(expected[alive]) - _digamma(expected[alive].sum(keepdims=True))
    return scores


def _digamma(x: Floats) -> Floats:
    """The derivative of the logarithm of the gamma function, by recurrence and its asymptotic series."""
    result = np.zeros_like(x)
    x = x.copy()
    for _ in range(7):
        small = x < 7
        result[small] -= 1 / x[small]
        x[small] += 1
    inverse = 1 / (x * x)
    series = inverse * (1 / 12 - inverse * (1 / 120 - inverse * (1 / 252 - inverse / 240)))
    return result + np.log(x) - 0.5 / x - series


def _best(part: _Lattices, scores: Floats, *, whole: bool) -> tuple[Floats, NDArray[np.int64]]:
    """The likeliest way to cut each word (Viterbi).

    Args:
        part: the words.
        scores: [seeds + 1].
        whole: whether a word may be one piece.

    Returns:
        [words] its score, and [words, length + 1] the span that ends at each place, -1 where none does.
    """
    values = scores[part.pieces]
    best = np.full((part.length + 1, len(values)), -np.inf)
    best[0] = 0.0
    last = np.full((len(values), part.length + 1), -1, np.int64)
    for span, (start, end) in enumerate(_spans(part.length)):
        if not whole and end - start == part.length:
            continue
        score = best[start] + values[:, span]
        better = score > best[end]
        best[end, better] = score[better]
        last[better, end] = span
    return best[-1], last


def _walk(part: _Lattices, last: NDArray[np.int64]) -> list[tuple[NDArray[np.int64], Ids]]:
    """The pieces of the likeliest cuts, from the end: the words that have a further one, and which it is."""
    starts = np.array([start for start, _ in _spans(part.length)])
    rows = np.flatnonzero(last[:, -1] >= 0)
    at = np.full(len(rows), part.length)
    steps = []
    while len(rows):
        span = last[rows, at]
        steps.append((rows, part.pieces[rows, span]))
        at = starts[span]
        rows, at = rows[at > 0], at[at > 0]
    return steps


def _prune(
    scores: Floats,
    text: Sequence[_Lattices],
    own: _Own,
    required: NDArray[np.bool_],
    keep: int,
) -> Floats:
    """Drop the seeds without which the text's likelihood falls least, and those that are better cut than whole.

    Args:
        scores: [seeds].
        text: the text's words.
        own: the seeds themselves as words.
        required: [seeds] whether a seed must stay.
        keep: how many may stay.
    """
    known = np.append(scores, -np.inf)
    counts = np.zeros(len(known))
    for part in text:
        safe_point()
        for rows, pieces in _walk(part, _best(part, known, whole=True)[1]):
            counts += np.bincount(pieces, part.weights[rows], minlength=len(known))
    total = counts.sum()
    loss = np.full(len(known), -np.inf)
    first = 0
    for part in own.lattices:
        safe_point()
        seeds = own.seeds[first : first + len(part.weights)]
        first += len(seeds)
        score, last = _best(part, known, whole=False)
        wanted = np.isfinite(known[seeds]) & (counts[seeds] > 0) & (known[seeds] >= score)
        # What the likelihood loses if each occurrence of the seed is cut the next best way.
        steps = _walk(part, last)
        parts = np.zeros(len(seeds))
        for rows, _ in steps:
            parts[rows] += 1
        with np.errstate(divide="ignore", invalid="ignore"):
            instead = np.zeros(len(seeds))
            for rows, pieces in steps:
                instead[rows] += np.log(counts[pieces] + counts[seeds[rows]])
            instead -= parts * np.log(total + counts[seeds] * (parts - 1))
            lost = counts[seeds] / total * (np.log(counts[seeds] / total) - instead)
        lost[parts == 0] = np.inf
        loss[seeds[wanted]] = lost[wanted]
    loss = loss[:-1]
    loss[required] = np.inf
    order = np.lexsort((np.arange(len(loss)), -loss))
    stay = order[: max(keep, int(required.sum()))]
    stay = stay[loss[stay] > -np.inf]
    pruned = np.full(len(scores), -np.inf)
    pruned[stay] = scores[stay]
    return pruned


def _final(names: Sequence[str], scores: Floats, required: NDArray[np.bool_], size: int) -> list[tuple[str, float]]:
    """The best pieces, those required among them, with scores of nine digits: what differs between machines is behind these."""
    rounded = {names[int(number)]: float(f"{scores[number]:.{_DIGITS}g}") for number in np.flatnonzero(np.isfinite(scores))}
    must = {names[int(number)] for number in np.flatnonzero(required)}
    by_score = sorted(rounded, key=lambda name: (name not in must, -rounded[name], name))[:size]
    return sorted(((name, rounded[name]) for name in by_score), key=lambda item: (-item[1], item[0]))
