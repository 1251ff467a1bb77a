"""The tables that close a run with right answers: labels and scores beside those of the model, however it gave them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plmtrain.programs.answering import Demonstration

_LARGEST_TABLE = 10
"""The most labels that fit side by side in a table."""
_PARTS = 5
"""The number of groups of held-out examples, by score, in the closing table."""
_WORST = 5
"""The number of examples in the table of the largest errors."""
_SHORT = 80
"""The most characters of a text in a table."""


def by_label(labels: Sequence[str], expected: Sequence[str], given: Sequence[str | None]) -> list[Demonstration | str]:
    """Make the confusion matrix of labels; nothing if there are too many.

    Args:
        labels: all labels.
        expected: the right label of each held-out example.
        given: the model's; None for an answer that is no label, which has a column of its own if there is any.
    """
    if len(labels) > _LARGEST_TABLE:
        return []
    columns: list[str | None] = [*labels, *([None] if None in given else [])]
    rows = []
    for label in labels:
        own = [answer for answer, right in zip(given, expected, strict=True) if right == label]
        share = f"{own.count(label) / len(own):.1%}" if own else ""
        rows.append([label, *(f"{own.count(other):,}" for other in columns), share])
    headings = ["expected", *("no label" if column is None else column for column in columns), "of them right"]
    return [Demonstration("held-out examples by label", headings, rows)]


def beside_commonest(measure: str, best: float, labels: Sequence[str], expected: Sequence[str]) -> str:
    """Return the best measure in words, beside the baseline: the share of the most frequent label."""
    commonest = max(expected.count(label) for label in labels) / len(expected)
    return f"best validation {measure} {best:.4f}; the commonest label alone is {commonest:.1%} of the examples"


def unknown_answers(answers: Sequence[Mapping[str, Any]], name: str) -> str:
    """Say how many answers that were written cannot be understood, with the commonest of them.

    Args:
        answers: each with what was ``written``.
        name: the key of what was understood: ``label``, ``score``.
    """
    unknown = Counter(answer["written"] for answer in answers if answer[name] is None)
    some = "".join(f"; such as '{shortened(text)}'" for text, _ in unknown.most_common(1))
    what = {"label": "no label", "score": "no number"}[name]
    return f"{unknown.total():,} of {len(answers):,} answers are {what} and count as wrong{some}"


def by_score(given: NDArray[np.float64], expected: NDArray[np.float64]) -> Demonstration:
    """Summarise the answers for equal groups of examples, from the lowest scores to the highest."""
    rows = []
    for part in np.array_split(np.argsort(expected, kind="stable"), min(_PARTS, len(expected))):
        right, answers = expected[part], given[part]
        numbers = (right.mean(), answers.mean(), np.sqrt(np.mean((answers - right) ** 2)))
        rows.append([f"{right.min():g} to {right.max():g}", f"{len(part):,}", *(f"{number:.3f}" for number in numbers)])
    return Demonstration(
        "held-out examples by score", ("expected", "examples", "mean expected", "mean answer", "root mean squared error"), rows
    )


def worst(examples: Sequence[Any], given: NDArray[np.float64], expected: NDArray[np.float64]) -> Demonstration:
    """List the examples with the largest errors."""
    order = np.argsort(-np.abs(given - expected), kind="stable")[:_WORST]
    rows = [
        ["\n".join(shortened(text) for text in examples[index].texts), f"{expected[index]:g}", f"{given[index]:.3f}"]
        for index in order.tolist()
    ]
    return Demonstration("held-out examples with the largest errors", ("text", "expected", "answer"), rows)


def shortened(text: str) -> str:
    """Return the beginning of a text that fits into a table."""
    return text if len(text) <= _SHORT else f"{text[:_SHORT]}..."
