"""Cutting documents into pairs, written again from google-research's ``create_pretraining_data.py`` of BERT and of ALBERT.

It is plain and slow on purpose: one document at a time, with Python's generator, on numbers of tokens alone. Where ALBERT's code
falls back to a random document for a stretch of one sentence, plmtrain makes no pair, and so does this.
"""

from __future__ import annotations

import random
from typing import NamedTuple


class Pair(NamedTuple):
    """The tokens of both segments, before and after they are made to fit, and whether the second one was changed."""

    first: int
    second: int
    changed: bool


def bert(documents: list[list[int]], own: int, most: int, short: float, draw: random.Random) -> list[Pair]:
    """Return the pairs of one document for next sentence prediction."""
    sentences = documents[own]
    target = draw.randint(2, most) if draw.random() < short else most
    pairs: list[Pair] = []
    chunk: list[int] = []
    at = 0
    while at < len(sentences):
        chunk.append(sentences[at])
        if at == len(sentences) - 1 or sum(chunk) >= target:
            ends = draw.randint(1, len(chunk) - 1) if len(chunk) >= 2 else 1
            first = sum(chunk[:ends])
            if len(chunk) == 1 or draw.random() < 0.5:
                others = [number for number in range(len(documents)) if number != own]
                other = documents[draw.choice(others)]
                second = 0
                for sentence in other[draw.randint(0, len(other) - 1) :]:
                    second += sentence
                    if second >= target - first:
                        break
                changed = True
                at -= len(chunk) - ends
            else:
                second, changed = sum(chunk[ends:]), False
            pairs.append(Pair(*_fitting(first, second, most), changed))
            chunk = []
        at += 1
    return pairs


def albert(documents: list[list[int]], own: int, most: int, short: float, draw: random.Random) -> list[Pair]:
    """Return the pairs of one document for sentence order prediction."""
    sentences = documents[own]
    target = draw.randint(2, most) if draw.random() < short else most
    pairs: list[Pair] = []
    chunk: list[int] = []
    for at, sentence in enumerate(sentences):
        chunk.append(sentence)
        if len(chunk) >= 2 and (at == len(sentences) - 1 or sum(chunk) >= target):
            ends = draw.randint(1, len(chunk) - 1)
            first, second = sum(chunk[:ends]), sum(chunk[ends:])
            changed = draw.random() < 0.5
            if changed:
                first, second = second, first
            pairs.append(Pair(*_fitting(first, second, most), changed))
            chunk = []
    return pairs


def _fitting(first: int, second: int, most: int) -> tuple[int, int]:
    while first + second > most:
        if first > second:
            first -= 1
        else:
            second -= 1
    return first, second


def electra(sentences: list[int], most: int, draw: random.Random) -> list[Pair]:
    """Return the rows of one document (google-research/electra, build_pretraining_dataset.py: ExampleBuilder).

    Once a sentence is in the second segment, all that follow it are: there, a short one may still go to the first. Rows of one
    segment may have as many tokens as those of two: there, one more.

    Args:
        most: tokens of a row, with the three special ones.
    """
    rows: list[Pair] = []
    chunk: list[int] = []
    target = draw.randint(5, most) if draw.random() < 0.05 else most  # there it is drawn when the row before is complete
    for at, sentence in enumerate(sentences):
        chunk.append(sentence)
        if sum(chunk) >= target or at == len(sentences) - 1:
            wanted = 100_000 if draw.random() < 0.1 else (target - 3) // 2
            first = second = 0
            for part in chunk:
                fits = first + part < wanted or (first < wanted and draw.random() < 0.5)
                if first == 0 or (second == 0 and fits):
                    first += part
                else:
                    second += part
            first = min(first, most - 3)
            rows.append(Pair(first, min(second, most - 3 - first), False))
            chunk = []
            target = draw.randint(5, most) if draw.random() < 0.05 else most
    return rows
