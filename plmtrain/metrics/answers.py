"""Exact match and F1 of written answers, as in SQuAD 1.1 (Rajpurkar et al. 2016, section 6.1, and their script)."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Iterable

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
