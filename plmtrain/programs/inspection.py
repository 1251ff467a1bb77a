"""What ``plmtrain inspect`` shows of a program: rows as they are drawn, and counts over many of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Shown:
    """One row as ``plmtrain inspect`` draws it.

    Args:
        lines: by label (``original``, ``input``, ``target`` ...) the tokens of a line, each an id with its mark. Marks:
            ``plain``, ``special``, ``masked``, ``random``, ``kept``, ``inserted``, ``deleted``, ``moved``, ``target``, ``blank``.
    """

    lines: Mapping[str, Sequence[tuple[int, str]]]


@dataclass(frozen=True)
class Inspection:
    """What a program did to a batch.

    Args:
        rows: each row as it is drawn.
        rates: by name, a part and the whole that it is a part of; over batches both are summed.
        histograms: by name, how often each value occurred.
        notes: what cannot be seen in the rows, a sentence each.
    """

    rows: Sequence[Shown]
    rates: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    histograms: Mapping[str, Mapping[int, int]] = field(default_factory=dict)
    notes: Sequence[str] = ()
