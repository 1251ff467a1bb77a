"""Where the YAML files are, and which choices each group has. Light: tab completion waits for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

GROUPS = ("model", "size", "objective", "task", "data", "tokenizer", "optimizer", "schedule", "trainer", "tracker", "experiment")
"""The groups of settings, each a folder of YAML files."""

OPTIONAL_GROUPS = ("size", "experiment")
"""The groups of which nothing need be chosen."""

PRIMARY = "pretrain"
"""The YAML file that composition begins with where nothing else is said; each kind of run has one of its own."""

_OF_ANY_RUN = ("check", "inspect")
"""The verbs that are about a run of any kind."""

_FOREIGN = {"pretrain": ("task",), "finetune": ("objective", "data", "experiment")}
"""By kind of run, the groups that it does not have."""


def groups_of(primary: str) -> tuple[str, ...]:
    """The groups of settings that a kind of run has."""
    return tuple(group for group in GROUPS if group not in _FOREIGN[primary])


def primary_of(verb: str, arguments: Iterable[str] = ()) -> str:
    """The YAML file that the composition of a command begins with.

    Args:
        verb: what stands after ``plmtrain``.
        arguments: its overrides: what ``check`` and ``inspect`` are asked about is a task's run if they name a task.
    """
    if verb in _OF_ANY_RUN:
        return "finetune" if any(text.startswith(("task=", "task.")) for text in arguments) else PRIMARY
    return verb if verb in _FOREIGN else PRIMARY


def foreign_group(primary: str, group: str) -> str | None:
    """The kind of run that has a group which this one has not."""
    return next((kind for kind in _FOREIGN if group in groups_of(kind)), None) if group in _FOREIGN[primary] else None


def conf_folder() -> Path:
    """The YAML files of plmtrain itself: inside the package when installed, else at the top of the repository."""
    package = Path(__file__).resolve().parents[2]
    inside = package / "conf"
    return inside if inside.is_dir() else package.parent / "conf"


def _folders(config_dir: str | Path | None) -> Iterator[Path]:
    yield conf_folder()
    if config_dir is not None:
        yield Path(config_dir)


def choices(group: str, config_dir: str | Path | None = None) -> list[str]:
    """The choices of a group, plmtrain's own and those of ``--config-dir``, sorted."""
    found: set[str] = set()
    for folder in _folders(config_dir):
        root = folder / group
        found.update(file.relative_to(root).with_suffix("").as_posix() for file in root.rglob("*.yaml"))
    return sorted(found)


def find(group: str, choice: str, config_dir: str | Path | None = None) -> Path | None:
    """The file of a choice; plmtrain's own comes before that of ``--config-dir``, as in Hydra's search path."""
    return next((file for folder in _folders(config_dir) if (file := folder / group / f"{choice}.yaml").is_file()), None)
