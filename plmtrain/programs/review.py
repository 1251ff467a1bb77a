"""A review of the answers of a task's learner to held-out examples, for the files in a run's folder."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Review:
    """What the answers to held-out examples show.

    Args:
        collapsed: whether all examples got the same answer although the right ones differ.
    """

    collapsed: bool


def all_alike(given: Iterable[Any], expected: Iterable[Any]) -> bool:
    """Return whether all given answers are the same one, although the right ones are not."""
    return len(set(given)) == 1 and len(set(expected)) > 1
