"""A review of the answers of a task's learner to held-out examples, for the files in a run's folder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Confusion:
    """How often each label was given for each.

    Args:
        labels: the labels in the order of their numbers.
        counts: [labels, labels] by the right one (rows) and the given one (columns).
    """

    labels: Sequence[str]
    counts: NDArray[np.int64]

    @classmethod
    def of(cls, labels: Sequence[str], expected: Iterable[str], given: Iterable[str]) -> Confusion:
        """Count pairs of labels."""
        numbers = {label: number for number, label in enumerate(labels)}
        counts = np.zeros((len(labels), len(labels)), np.int64)
        for right, other in zip(expected, given, strict=True):
            counts[numbers[right], numbers[other]] += 1
        return cls(labels, counts)

    @property
    def shares(self) -> NDArray[np.float64]:
        """The counts as shares of each right label; zero for one that does not occur.  # [labels, labels]"""
        whole = self.counts.sum(axis=1, keepdims=True)
        shares: NDArray[np.float64] = self.counts / np.maximum(whole, 1)
        return shares

    @property
    def collapsed(self) -> bool:
        """Whether one label was given for all, although there is more than one right one."""
        expected, given = ((self.counts.sum(axis=axis) > 0).sum() for axis in (1, 0))
        return bool(given == 1 and expected > 1)


@dataclass(frozen=True)
class Scores:
    """Given and right scores.

    Args:
        given, expected: [examples].
    """

    given: NDArray[np.float64]
    expected: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Review:
    """The facts about the answers to held-out examples.

    Args:
        collapsed: whether all examples got the same answer although the right ones differ.
        confusion: of answers that are labels.
        scores: of answers that are scores.
        errors: wrong answers, the most confident or the largest error first, as JSON-ready objects; None where an answer has
            neither.
    """

    collapsed: bool
    confusion: Confusion | None = None
    scores: Scores | None = None
    errors: Sequence[Mapping[str, Any]] | None = None


def all_alike(given: Iterable[Any], expected: Iterable[Any]) -> bool:
    """Return whether all given answers are the same one, although the right ones are not."""
    return len(set(given)) == 1 and len(set(expected)) > 1
