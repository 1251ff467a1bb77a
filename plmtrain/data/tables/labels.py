"""Labels of examples: how many there are of each, and messages about unknown and rare ones."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from plmtrain.data.tables.reader import Finding
from plmtrain.errors import DataError, nearest
from plmtrain.text.readers import SKIP

LISTED = 20
"""The most labels in a list of all labels."""
_NAMED = 5
"""The most labels that are given as examples."""
WHOLE = re.compile(r"-?\d{1,100}")
"""Labels that are ordered as whole numbers, in digits of any script."""


def unknown(label: str, labels: Sequence[str], where: str) -> DataError:
    """Return the error about a label that is none of the training examples'.

    Args:
        label: the label.
        labels: those of the training examples.
        where: its file and line.
    """
    known = ", ".join(labels[:LISTED]) + (", ..." if len(labels) > LISTED else "")
    hint = nearest(label, labels)
    remedy = hint if hint.startswith("did you mean") else f"training has: {known}; {SKIP}"
    if WHOLE.fullmatch(label) and not any(WHOLE.fullmatch(name) for name in labels):
        remedy = f"training has: {known}; numbers stand for them only in a dataset that says so (task.folder=)"
    return DataError(f"the label '{label[:60]}' is none of training's", where, remedy)


def require_several(labels: Sequence[str], setting: str) -> None:
    """Refuse examples with fewer than two labels.

    Raises:
        DataError: if there are fewer.
    """
    if len(labels) < 2:
        what = f"there is one label only, '{labels[0]}'" if labels else "there is no label"
        raise DataError(what, setting, "give examples of two labels or more")


def listed(labels: Sequence[str], counts: Mapping[str, int]) -> str:
    """Return labels with how often each occurs, in a line."""
    named = [f"{label} ({counts.get(label, 0):,})" for label in labels]
    return f"labels: {', '.join(named[:LISTED])}{', ...' if len(named) > LISTED else ''}"


def rare(labels: Sequence[str], train: Mapping[str, int], held_out: Mapping[str, int], setting: str) -> list[Finding]:
    """Return warnings about labels that occur once or never.

    Args:
        labels: all labels.
        train, held_out: how often each occurs.
        setting: the setting that names their column.
    """
    unseen = [label for label in labels if not train.get(label)]
    kinds = {
        "never in the training examples, but in the held-out ones": [label for label in unseen if held_out.get(label)],
        "never in the training examples": [label for label in unseen if not held_out.get(label)],
        "once in the training examples": [label for label in labels if train.get(label) == 1],
    }
    remedy = "give more examples of such labels, or join them with others"
    return [Finding(_told(some, how), setting, remedy) for how, some in kinds.items() if some]


def _told(labels: Sequence[str], how: str) -> str:
    """Return how often some labels occur, in one line."""
    some = ", ".join(f"'{label}'" for label in labels[:_NAMED]) + (", ..." if len(labels) > _NAMED else "")
    return f"{'1 label occurs' if len(labels) == 1 else f'{len(labels)} labels occur'} {how}: {some}"
