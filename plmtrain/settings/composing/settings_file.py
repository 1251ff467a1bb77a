"""One YAML file with all settings of a run: ``plmtrain pretrain run.yaml``, and a run's own ``config.yaml``.

A group is the name of a choice, or settings in which ``name`` is the choice::

    model: roberta
    size: small
    data:
      name: text
      files: [corpus]
    trainer:
      steps: 20000

A section with both ``name`` and ``type`` is complete, as in a run's ``config.yaml``: it stands for no choice, and replaces all
that the group's YAML files say.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from plmtrain.errors import SettingsError, nearest
from plmtrain.settings.composing.folders import OPTIONAL_GROUPS, PRIMARY, choices, foreign_group, groups_of
from plmtrain.settings.composing.foreign_yaml import read_plain, unsafe

WHOLE = frozenset({"objective.shares", "task.label_words"})
"""Mappings that are one value: they replace those of a choice instead of being merged into them."""

_ENDINGS = (".yaml", ".yml")
_RECORDED = ("resolved",)
"""Keys of a run's ``config.yaml`` that are no settings."""


@dataclass(frozen=True)
class SettingsFile:
    """The settings of a file.

    Args:
        path: the file; empty if there is none.
        groups: the choice of each group that it names.
        values: other settings, by full key.
        complete: the groups of which it has all settings.
        errors: all errors in it.
        broken: the groups with errors, whose contents are not checked; the empty key if the file cannot be read.
    """

    path: str = ""
    groups: Mapping[str, str | None] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)
    complete: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    errors: tuple[SettingsError, ...] = ()
    broken: frozenset[str] = frozenset()

    @property
    def settings(self) -> dict[str, Any]:
        """All single settings in it, by full key."""
        return {**{key: value for group, inner in self.complete.items() for key, value in _flat(inner, group)}, **self.values}

    def under(self, groups: Collection[str], keys: Collection[str]) -> SettingsFile:
        """Return what remains of it beside a command line, which replaces a group that it chooses, and a key that it sets.

        Args:
            groups: that the command line chooses.
            keys: that the command line sets.
        """
        values = {
            key: value
            for key, value in self.values.items()
            if key.partition(".")[0] not in groups and not any(key == other or key.startswith(f"{other}.") for other in keys)
        }
        return replace(
            self,
            groups={group: choice for group, choice in self.groups.items() if group not in groups},
            values=values,
            complete={group: section for group, section in self.complete.items() if group not in groups},
        )

    def origin(self, key: str) -> str | None:
        """Return the place of a setting or a group in this file, or None."""
        parts = key.split(".")
        above = {".".join(parts[:count]) for count in range(1, len(parts) + 1)}
        inside = any(other.startswith(f"{key}.") for other in self.values)
        return _where(self.path, key) if above & {*self.values, *self.complete} or key in self.groups or inside else None


def separated(words: Sequence[str]) -> tuple[str | None, list[str]]:
    """Return the file of settings among the overrides of a command line, if there is one, and the others."""
    file = next((word for word in words if "=" not in word and word.endswith(_ENDINGS)), None)
    rest = list(words)
    if file is not None:
        rest.remove(file)
    return file, rest


def top_keys(path: str) -> list[str]:
    """Return the keys of a file's first level; none if it cannot be read, which ``read_settings_file`` reports."""
    values, _ = read_plain(Path(path)) if Path(path).is_file() else (None, [])
    return [str(key) for key in values] if isinstance(values, dict) else []


def read_settings_file(path: str | None, primary: str = PRIMARY, config_dir: str | None = None) -> SettingsFile:
    """Read a file of settings; its errors are in the result, to be reported together with those of the command line.

    Args:
        path: the file; None if the command line names none.
        primary: the kind of run.
        config_dir: the folder of ``--config-dir``.
    """
    if path is None:
        return SettingsFile()
    if not Path(path).is_file():
        there = [file.name for file in Path(path).parent.glob("*") if file.suffix in _ENDINGS]
        remedy = nearest(Path(path).name, there) if there else "name a YAML file with 'key: value' lines"
        errors = [SettingsError("there is no such file of settings", f"file: {path}", remedy)]
        return SettingsFile(path, errors=tuple(errors), broken=frozenset({""}))
    values, errors = read_plain(Path(path))
    if not errors and not isinstance(values, dict):
        errors = [SettingsError("a file of settings has 'key: value' lines", _where(path), "write settings as in model: roberta")]
    elif not errors and "defaults" in values:
        remedy = (
            f"write model: roberta instead; or keep it as DIR/experiment/NAME.yaml: --config-dir DIR experiment={Path(path).stem}"
        )
        errors = [SettingsError("a file of settings has no defaults list", _where(path, "defaults"), remedy)]
    elif not errors:
        values = {key: value for key, value in values.items() if key not in _RECORDED}
        errors = [SettingsError(what, _where(path, key), remedy) for key, what, remedy in unsafe(values)]
    if errors:
        return SettingsFile(path, errors=tuple(errors), broken=frozenset({""}))
    return _sorted_out(path, values, primary, config_dir)


def _sorted_out(path: str, values: Mapping[str, Any], primary: str, config_dir: str | None) -> SettingsFile:
    """Tell choices of groups, complete sections and single settings apart."""
    groups: dict[str, str | None] = {}
    complete: dict[str, Mapping[str, Any]] = {}
    single: dict[str, Any] = {}
    errors: list[SettingsError] = []
    broken: set[str] = set()
    for key, value in values.items():
        is_section = isinstance(value, dict)
        owner = foreign_group(primary, key)
        if owner is not None and not (is_section and key == "data"):
            remedy = f"write plmtrain {owner} {path}, or remove {key}"
            errors.append(SettingsError(f"plmtrain {primary} has no group '{key}'", _where(path, key), remedy))
            broken.add(key)
        elif key not in groups_of(primary):
            single |= dict(_flat(value, key))
        elif is_section and "name" in value and "type" in value:
            complete[key] = value
        else:
            choice = value.get("name") if is_section else value
            if choice is not None or not is_section:
                if refused := [*_unknown(key, choice, path, config_dir)]:
                    errors += refused
                    broken.add(key)
                    continue
                groups[key] = None if choice is None else str(choice)
            single |= dict(_flat({name: inner for name, inner in value.items() if name != "name"}, key)) if is_section else {}
    return SettingsFile(path, groups, single, complete, tuple(errors), frozenset(broken))


def _unknown(group: str, choice: Any, path: str, config_dir: str | None) -> Iterator[SettingsError]:
    """Yield an error if a group has no such choice."""
    valid = choices(group, config_dir)
    if (choice is None and group not in OPTIONAL_GROUPS) or (choice is not None and str(choice) not in valid):
        yield SettingsError(f"{group} has no choice '{choice}'", _where(path, group), nearest(str(choice), valid))


def _flat(value: Any, key: str) -> Iterator[tuple[str, Any]]:
    """Yield the settings below a key, each with its full key."""
    if isinstance(value, dict) and value and key not in WHOLE:
        for name, inner in value.items():
            yield from _flat(inner, f"{key}.{name}")
    else:
        yield key, value


def _where(path: str, key: str = "") -> str:
    return f"file: {path}" + (f" ({key})" if key else "")
