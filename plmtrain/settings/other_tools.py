"""The names that other tools give to settings, with plmtrain's name for each, or the reason why there is none.

The table is ``other_tools.txt``. A name in it is never compared by spelling: ``mask_rate`` is spelled like
``mask_share`` and means another number.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from plmtrain.files import read_text


@dataclass(frozen=True)
class Elsewhere:
    """The setting of plmtrain that some names of other tools stand for.

    Args:
        theirs: the names, without the ``--`` of a command line, and with ``_`` for ``-``.
        ours: full keys; of several, those that the run has. Empty where plmtrain has none.
        note: how ours differs, or why there is none.
    """

    theirs: tuple[str, ...]
    ours: tuple[str, ...]
    note: str


@cache
def table() -> tuple[Elsewhere, ...]:
    """Return the rows of ``other_tools.txt``."""
    rows: list[Elsewhere] = []
    names: list[str] = []
    for line in read_text(Path(__file__).with_suffix(".txt")).splitlines():
        if line.startswith("  = "):
            ours, _, note = line.removeprefix("  = ").partition(" (")
            keys = () if ours == "none" else tuple(ours.split())
            rows.append(Elsewhere(tuple(names), keys, note.removesuffix(")")))
            names = []
        elif not line.startswith("#"):
            names += line.split()
    return tuple(rows)


@cache
def _by_name() -> dict[str, Elsewhere]:
    return {name: row for row in table() for name in row.theirs}


_OTHER_CHOICES = frozenset(
    # models
    "bigbird camembert deberta elmo ernie flaubert funnel gpt gpt2 gpt3 longformer luke mass mbart minilm mobilebert modernbert "
    "mpnet mt5 roformer tinybert xlm_roberta xlmr "
    # objectives
    "causal_lm clm distillation lm mass "
    # optimisers
    "adagrad adam lars lion muon rmsprop sgd shampoo sophia "
    # schedules
    "cosine_with_restarts exponential onecycle reduce_lr_on_plateau step".split()
)
"""Published models, objectives, optimisers and schedules whose names are spelled like those of others: DeBERTa is not RoBERTa."""


def is_something_else(name: str) -> bool:
    """Return whether a choice's name is that of a published system, which one of similar spelling must not stand in for."""
    plain = name.lower().replace("-", "_")
    return plain in _OTHER_CHOICES or any(plain.startswith(f"{other}_") for other in _OTHER_CHOICES)


def elsewhere(key: str) -> Elsewhere | None:
    """Return the row of a name that another tool has for a setting.

    Args:
        key: as the user wrote it: a full key, a name without group, or an option such as ``--warmup-updates``.
    """
    plain = key.lstrip("-").replace("-", "_")
    return _by_name().get(plain) or _by_name().get(plain.rpartition(".")[2])


def remedy(key: str, row: Elsewhere, valid: Iterable[str] | None = None) -> str:
    """Return the line that says what plmtrain has for a name of another tool.

    Args:
        key: as the user wrote it.
        row: what ``elsewhere`` returned for it.
        valid: the full keys of the run; None where they are not known.
    """
    if not row.ours:
        return f"there is none: {row.note}"
    note = f" ({row.note})" if row.note else ""
    if valid is None:
        return f"that is {' or '.join(row.ours)} here{note}"
    here = [name for ours in row.ours for name in _places(ours, key, list(valid))]
    if here:
        return f"that is {' or '.join(here)} here{note}"
    return f"that is {' or '.join(row.ours)} here, which this run does not have"


def _places(ours: str, key: str, valid: list[str]) -> list[str]:
    """Return the keys of a run that are a key of ours: beside the one that was written, or in its own place."""
    beside = f"{key.rpartition('.')[0]}.{ours.rpartition('.')[2]}"
    exact = [name for name in (beside, ours) if name in valid and name.split(".")[0] in (ours.split(".")[0], "trainer")]
    return exact[:1] or [name for name in valid if name.endswith(f".{ours}")]
