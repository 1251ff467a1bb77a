"""The YAML files, the choices of each group, and the values of a choice, without Hydra: tab completion waits for them."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from plmtrain.files import read_text

GROUPS = (
    "model",
    "size",
    "objective",
    "task",
    "data",
    "tokenizer",
    "optimizer",
    "schedule",
    "trainer",
    "tracker",
    "scoring",
    "experiment",
)
"""The groups of settings, each a folder of YAML files."""

OPTIONAL_GROUPS = ("size", "experiment")
"""The groups that may be left without a choice."""

PRIMARY = "pretrain"
"""The YAML file that composition begins with by default; each kind of run has its own."""

_OF_ANY_RUN = ("bench", "check", "inspect")
"""The verbs that take the settings of any kind of run."""

_FOREIGN = {
    "pretrain": ("task", "scoring"),
    "finetune": ("objective", "data", "experiment", "scoring"),
    "evaluate": tuple(group for group in GROUPS if group != "scoring"),
}
"""By the YAML file that composition begins with, the groups that it does not have."""


def groups_of(primary: str) -> tuple[str, ...]:
    """Return the groups of settings that a kind of run, or ``evaluate``, composes."""
    return tuple(group for group in GROUPS if group not in _FOREIGN[primary])


def primary_of(verb: str, arguments: Iterable[str] = ()) -> str:
    """Return the name of the YAML file that the composition of a command begins with.

    Args:
        verb: the first argument of ``plmtrain``.
        arguments: its overrides: ``check`` and ``inspect`` take a fine-tuning run if they name a task.
    """
    if verb in _OF_ANY_RUN:
        return "finetune" if any(text.startswith(("task=", "task.")) for text in arguments) else PRIMARY
    return verb if verb in _FOREIGN else PRIMARY


def foreign_group(primary: str, group: str) -> str | None:
    """Return the kind of run that has a group, if the given kind has not."""
    return next((kind for kind in _FOREIGN if group in groups_of(kind)), None) if group in _FOREIGN[primary] else None


@cache
def conf_folder() -> Path:
    """Return the folder of plmtrain's own YAML files: inside the package when installed, else at the top of the repository."""
    package = Path(__file__).resolve().parents[2]
    inside = package / "conf"
    return inside if inside.is_dir() else package.parent / "conf"


def _folders(config_dir: str | Path | None) -> Iterator[Path]:
    yield conf_folder()
    if config_dir is not None:
        yield Path(config_dir)


def choices(group: str, config_dir: str | Path | None = None) -> list[str]:
    """Return the choices of a group, plmtrain's own and those of ``--config-dir``, sorted."""
    return sorted(_own_choices(group) | (set() if config_dir is None else _choices_in(Path(config_dir), group)))


@cache
def _own_choices(group: str) -> set[str]:
    return _choices_in(conf_folder(), group)


def _choices_in(folder: Path, group: str) -> set[str]:
    root = folder / group
    return {file.relative_to(root).with_suffix("").as_posix() for file in root.rglob("*.yaml")}


def find_choice(group: str, choice: str, config_dir: str | Path | None = None) -> Path | None:
    """Return the file of a choice; plmtrain's own comes before that of ``--config-dir``, as in Hydra's search path."""
    return next((file for folder in _folders(config_dir) if (file := folder / group / f"{choice}.yaml").is_file()), None)


def values_in(file: Path) -> Any:
    """Return what a YAML file says.

    One of plmtrain's own is read once, by libyaml, which takes a tenth of the time. Other people's files are not given to it:
    where they nest deeply enough, it ends the process.
    """
    import yaml  # type: ignore[import-untyped]

    return copy.deepcopy(_own_values(file)) if file.is_relative_to(conf_folder()) else _parsed(file, yaml.SafeLoader)


@cache
def _own_values(file: Path) -> Any:
    import yaml

    return _parsed(file, getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def _parsed(file: Path, loader: Any) -> Any:
    reader = loader(read_text(file))
    try:
        return reader.get_single_data()
    finally:
        reader.dispose()


def section(group: str, choice: str, config_dir: str | Path | None = None) -> dict[str, Any]:
    """Return the values that a choice sets in its group, merged over those of its defaults list; empty for an unknown choice.

    Args:
        group: of settings.
        choice: the name of one of its files.
        config_dir: the folder of ``--config-dir``.
    """
    file = find_choice(group, choice, config_dir)
    values = values_in(file) if file is not None else None
    if not isinstance(values, dict):
        return {}
    below: dict[str, Any] = {}
    for entry in values.get("defaults", []):
        if isinstance(entry, str) and entry not in ("_self_", choice):
            below = merge_values(below, section(group, entry, config_dir))
    own = values.get(group, values)
    own = {key: value for key, value in own.items() if key != "defaults"} if isinstance(own, dict) else {}
    return merge_values(below, own)


def merge_values(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested values on top of others, as Hydra merges files: those of ``above`` win."""
    both = {key for key in below.keys() & above.keys() if isinstance(below[key], dict) and isinstance(above[key], dict)}
    return {**below, **above, **{key: merge_values(below[key], above[key]) for key in sorted(both)}}
