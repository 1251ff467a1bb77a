"""The output of ``plmtrain inspect`` for a program: annotated rows, and statistics over many of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Shown:
    """One row as ``plmtrain inspect`` shows it.

    Args:
        lines: by label (``original``, ``input``, ``target`` ...) the tokens of a line, each a token id with its mark. Marks:
            ``plain``, ``special``, ``masked``, ``random``, ``kept``, ``inserted``, ``deleted``, ``moved``, ``target``, ``blank``,
            ``asked`` (a place whose token is predicted without being seen), ``boundary``.
    """

    lines: Mapping[str, Sequence[tuple[int, str]]]


@dataclass(frozen=True)
class Inspection:
    """A description of how a program made a batch.

    Args:
        rows: the annotated rows.
        rates: by name, a numerator and its denominator; both are summed over batches.
        histograms: by name, the number of times that each value occurred.
        notes: facts that the rows do not show, one sentence each.
    """

    rows: Sequence[Shown]
    rates: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    histograms: Mapping[str, Mapping[int, int]] = field(default_factory=dict)
    notes: Sequence[str] = ()
