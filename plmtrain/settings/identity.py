"""The identity of a run: its hash, its folder's name, and what a change of settings means to a run that has begun.

Every process of a run and every resume must arrive at the same folder, so the name is a function of the settings alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from plmtrain.errors import SettingsError
from plmtrain.settings.lookup import objective_classes, task_classes
from plmtrain.settings.run import RunSettings

Kind = Literal["free", "trajectory", "structural"]

RESOLVED = "resolved"
"""The key of ``config.yaml`` for values that are not settings but the process's choices (precision, threads ...)."""

_FREE_GROUPS = ("resume", "launch", "tracker")
_FREE = frozenset(
    {
        "name",
        "runs_dir",
        "data.prepared_dir",
        "data.processes",
        "data.cache_gb",
        "trainer.micro_batch_size",
        "trainer.activation_checkpointing",
        "trainer.sharding",
        "trainer.save_every",
        "trainer.keep",
        "trainer.milestones",
        "trainer.token_milestones",
        "trainer.log_every",
        "trainer.workers",
        "trainer.threads",
        "trainer.device",
        "trainer.on_nonfinite",
        "trainer.max_skipped",
    }
)
_EVALUATION = frozenset({"trainer.evaluate_every", "trainer.evaluate_batches"})
_STRUCTURAL = frozenset({"objective.type", "optimizer.type", "task.type", "trainer.freeze"})

_WITHOUT_PARAMETERS = frozenset({"causal"})
"""The settings of a model's shape that no parameter shows, so that weights fit either value."""


def kind_of(key: str, validation_decides: bool = False) -> Kind:
    """Classify a changed key by what it means to a run that has begun.

    Args:
        key: the full key.
        validation_decides: whether the run's result depends on when it is validated.

    Returns:
        ``free``: the result stays the same, except for rounding and the masks of dropout, which are drawn for each process
        and micro-batch. ``trajectory``: the weights fit, and the result changes. ``structural``: the
        checkpoint no longer fits, or has another meaning.
    """
    group, _, name = key.partition(".")
    if group in _FREE_GROUPS or key in _FREE or (key in _EVALUATION and not validation_decides):
        return "free"
    if key in _STRUCTURAL or _decides_parameters(key) or (group == "tokenizer" and name != "path"):
        return "structural"
    if group == "model" and "dropout" not in name and not name.startswith("initial") and name not in _WITHOUT_PARAMETERS:
        return "structural"
    return "trajectory"


def _decides_parameters(key: str) -> bool:
    """Return whether a setting of a task, of an objective, or of one of its parts, decides which parameters exist."""
    owner, _, name = key.rpartition(".")
    if owner == "task":
        return any(name in kind.decides_parameters for kind in task_classes().values())
    if owner == "objective":
        return any(name in kind.decides_parameters for kind in objective_classes().values())
    if owner.startswith("objective.parts."):
        return name in ("type", "name") or _decides_parameters(f"objective.{name}")
    return False


def _found_in_data(key: str) -> bool:
    """Return whether a setting may be left open, and is then filled in from the data once and for all."""
    owner, _, name = key.rpartition(".")
    return owner == "task" and any(name in kind.found_in_data for kind in task_classes().values())


def _validation_decides(values: Mapping[str, Any]) -> bool:
    """Return whether a run's result depends on when it is validated: it may stop early, or end with its best checkpoint.

    Args:
        values: its flat settings.
    """
    return values.get("trainer.patience") is not None or "task.type" in values


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def run_hash(settings: RunSettings, digests: Mapping[str, str] = MappingProxyType({})) -> str:
    """Return eight hexadecimal digits of a hash of the settings that change the result.

    Only values that differ from a setting's default are included, so that a setting that a later version adds, with a default
    that changes nothing, leaves the names of runs as they were.

    Args:
        settings: the run's settings.
        digests: by the key of each setting that names a folder of weights (``RunSettings.folders``), the digest of the weights,
            which counts instead of their place.
    """
    decides = _validation_decides(dict(_flat(settings.model_dump(mode="json"))))
    values = dict(_flat(settings.model_dump(mode="json", exclude_defaults=True)))
    if settings.trainer.epochs is not None or settings.trainer.hours is not None:
        values.pop("trainer.steps", None)
    counted = {key: value for key, value in values.items() if kind_of(key, decides) != "free"}
    counted |= {key: digests.get(key, folder) for key, folder in settings.folders.items()}
    text = json.dumps(counted, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def run_name(settings: RunSettings, digests: Mapping[str, str] = MappingProxyType({})) -> str:
    """Return ``name``, or MODEL-OBJECTIVE-HASH, or MODEL-TASK-HASH; ``RunFolder.below`` turns it into a folder's name."""
    if settings.name is not None:
        return settings.name
    return f"{settings.model.name}-{settings.subject}-{run_hash(settings, digests)}"


@dataclass(frozen=True)
class Change:
    """A setting that differs from what the run began with."""

    key: str
    old: Any
    new: Any

    def __str__(self) -> str:
        return f"{self.key}: {json.dumps(self.old)} -> {json.dumps(self.new)}"


@dataclass(frozen=True)
class Drift:
    """The settings that differ from those that a run began with, by what the difference means to it."""

    free: tuple[Change, ...] = ()
    trajectory: tuple[Change, ...] = ()
    structural: tuple[Change, ...] = ()

    def refusals(self, allow: Sequence[str] = ()) -> list[SettingsError]:
        """Return the reasons why the run cannot be resumed with these settings: an error for each change that is neither free nor
        allowed.

        Args:
            allow: ``resume.allow``: full keys, or groups.
        """
        place = "settings differ from those that the run began with"
        errors = [
            SettingsError(str(change), place, "the checkpoint does not fit: give the new run another name=")
            for change in self.structural
        ]
        for change in self.trajectory:
            if not any(change.key == key or change.key.startswith(f"{key}.") for key in allow):
                remedy = f"undo the change, or accept another result: resume.allow=[{change.key}]"
                errors.append(SettingsError(str(change), place, remedy))
        return errors


def drift(old: Mapping[str, Any], new: Mapping[str, Any]) -> Drift:
    """Compare two sets of settings.

    Args:
        old: the plain values that the run began with (``config.yaml``); values that are not settings are ignored.
        new: the current plain values.
    """
    before, after = (dict(_flat({key: value for key, value in values.items() if key != RESOLVED})) for values in (old, new))
    decides = any(_validation_decides(values) for values in (before, after))
    counts_no_steps = any(
        all(values.get(key) is not None for values in (before, after)) for key in ("trainer.epochs", "trainer.hours")
    )
    changed: dict[Kind, list[Change]] = {"free": [], "trajectory": [], "structural": []}
    for key in sorted(before.keys() | after.keys()):
        left_open = (key == "trainer.steps" and counts_no_steps) or (_found_in_data(key) and not after.get(key))
        if before.get(key) != after.get(key) and not left_open:
            changed[kind_of(key, decides)].append(Change(key, before.get(key), after.get(key)))
    return Drift(**{kind: tuple(changes) for kind, changes in changed.items()})
