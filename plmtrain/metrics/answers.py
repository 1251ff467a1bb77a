"""Exact match and F1 of answers, as in SQuAD 1.1 (Rajpurkar et al. 2016, section 6.1, and their script) and in SQuAD 2.0, where
a question may have no answer (Rajpurkar et al. 2018, section 4, and their script); and the metric of KLUE beside them."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def words_of(answer: str) -> list[str]:
    """Return the words of an answer that are compared: in lower case, without ASCII punctuation and English articles."""
    return _ARTICLES.sub(" ", answer.lower().translate(_PUNCTUATION)).split()


def exact_match(answer: str, right: Iterable[str]) -> float:
    """Return 1 if the words of an answer are those of a right one, else 0."""
    words = words_of(answer)
    return float(any(words == words_of(one) for one in right))


def f1(answer: str, right: Iterable[str]) -> float:
    """Return the best F1 of the words of an answer against those of a right one."""
    return max((_f1(words_of(answer), words_of(one)) for one in right), default=0.0)


def _f1(answer: list[str], right: list[str]) -> float:
    common = sum((Counter(answer) & Counter(right)).values())
    return 2 * common / (len(answer) + len(right)) if common else 0.0


def rouge_w(answer: str, right: Iterable[str]) -> float:
    """Return the best ROUGE-W over characters of an answer against a right one (Park et al. 2021, section 3.7, and their code).

    It is the F1 of the longest run of characters that both have. Case, ASCII punctuation and the number of spaces do not count.
    A question without a right answer has 1 for no answer, else 0.
    """
    characters = _characters(answer)
    return max((_rouge_w(characters, _characters(one)) for one in right), default=float(not characters))


def _characters(answer: str) -> str:
    return " ".join(answer.lower().translate(_PUNCTUATION).split())


def _rouge_w(answer: str, right: str) -> float:
    if not right:
        return float(not answer)
    run = SequenceMatcher(None, answer, right).find_longest_match().size
    return 2 * run / (len(answer) + len(right))


@dataclass(frozen=True)
class Scores:
    """The metrics of some answers, a share from 0 to 1 each.

    Args:
        exact_match: [answers] 1 where the words of an answer are those of a right one.
        f1: [answers] the best F1 of the words of an answer against those of a right one.
        given, right: as in ``of``.
    """

    exact_match: NDArray[np.float64]
    f1: NDArray[np.float64]
    given: Sequence[str]
    right: Sequence[Sequence[str]]

    @cached_property
    def rouge_w(self) -> NDArray[np.float64]:
        """Return the best ROUGE-W of each answer.  # [answers]"""
        return np.array([rouge_w(answer, texts) for answer, texts in zip(self.given, self.right, strict=True)], np.float64)

    @classmethod
    def of(cls, given: Sequence[str], right: Sequence[Sequence[str]], *, unanswerable: bool) -> Scores:
        """Score answers.

        Args:
            given: the answers; an empty one says that there is none.
            right: the right ones of each question.
            unanswerable: whether a question may have no answer, so that no word on both sides is right (SQuAD 2.0), and counts
                nothing otherwise (SQuAD 1.1).
        """
        score = _with_none if unanswerable else _as_given
        pairs = [score(answer, texts) for answer, texts in zip(given, right, strict=True)]
        exact, words = np.array(pairs, np.float64).reshape(-1, 2).T
        return cls(exact, words, given, right)


def _as_given(answer: str, right: Sequence[str]) -> tuple[float, float]:
    return exact_match(answer, right), f1(answer, right)


def _with_none(answer: str, right: Sequence[str]) -> tuple[float, float]:
    right = [one for one in right if words_of(one)] or [""]
    exact = exact_match(answer, right)
    return exact, exact if not words_of(answer) or right == [""] else f1(answer, right)


def best_threshold(answered: NDArray[np.float64], silent: NDArray[np.float64], differences: NDArray[np.float64]) -> float:
    """Return the difference of scores above which no answer should be given, so that the mean of a metric is greatest (as the
    script of SQuAD 2.0 finds it); of several, the one with which most questions are answered.

    Args:
        answered: [questions] the metric of each question if its best answer is given.
        silent: [questions] the metric if none is given.
        differences: [questions] the score of no answer, minus that of the best answer.
    """
    if not len(differences):
        return 0.0
    order = np.argsort(differences, kind="stable")
    steps = differences[order]
    # After each question, from the one that has its answer most surely: the whole if those so far are answered, and no others.
    wholes = silent.sum() + np.cumsum(np.append(0.0, (answered - silent)[order]))
    possible = np.append(np.append(True, steps[1:] != steps[:-1]), True)
    best = int(np.flatnonzero(possible & (wholes >= wholes[possible].max() - 1e-9))[-1])
    low = steps[best - 1] if best else steps[0] - 2.0
    high = steps[best] if best < len(steps) else steps[-1] + 2.0
    return float((low + high) / 2)
