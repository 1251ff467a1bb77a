"""Every setting with its meaning, what it can be, and its default in each choice of its group.

Nothing is written here: meanings are the comments of the YAML files, defaults their values, and ranges those of the classes.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from plmtrain.files import read_text
from plmtrain.settings.base import Settings
from plmtrain.settings.composing.comments import comments
from plmtrain.settings.composing.folders import GROUPS, choices, conf_folder, find_choice, values_in
from plmtrain.settings.kinds import COMPOSITIONS, KINDS
from plmtrain.settings.ranges import listed, values_of

RUN = "run"
"""The group of the settings that have no group: the seed, the run's name, its folder."""

_FEW = 3
"""If more choices than this have a value each, the values are not listed."""


@dataclass(frozen=True)
class Setting:
    """One setting.

    Args:
        key: the full key.
        meaning: the comment of the YAML files.
        values: what it can be, in words.
        defaults: the value in each choice of its group that has the setting, the group's own default choice first; by kind of run
            where the group has no choices.
        only_in: the choices that have it, those of one type together; empty if all of the group have it.
    """

    key: str
    meaning: str
    values: str
    defaults: Mapping[str, Any]
    only_in: tuple[str, ...]

    def default(self) -> str:
        """Return the default in words: that of the default choice, or the commonest one, then the others with their choices."""
        by_value: dict[str, list[str]] = {}
        for choice, value in self.defaults.items():
            by_value.setdefault(_shown(value), []).append(choice)
        if len(by_value) == len(self.defaults) > _FEW:
            return "another in each choice"
        (first, _), *others = by_value.items()
        return "; ".join([first, *(f"{value} in {', '.join(names)}" for value, names in others)])


@dataclass
class _Place:
    """The values and comments of one YAML file, with those of the files that it is based on."""

    values: dict[str, Any] = field(default_factory=dict)
    meanings: dict[str, str] = field(default_factory=dict)

    def over(self, below: _Place) -> _Place:
        """Return the same on top of another file."""
        return _Place(below.values | self.values, below.meanings | self.meanings)


def groups() -> list[str]:
    """Return the groups that have settings of their own, in the order of the page of all settings."""
    own = [name for kind in COMPOSITIONS for name, info in kind.settings.model_fields.items() if _is_group(info.annotation)]
    chosen = [group for group in GROUPS if group in own]
    return [*chosen, *sorted(set(own) - set(chosen)), RUN]


def settings_in(group: str, config_dir: str | None = None) -> list[Setting]:
    """Return the settings of a group, in the order of their classes.

    Args:
        group: one of ``groups()``.
        config_dir: a folder with the user's own YAML files.
    """
    places = dict(_places(group, config_dir))
    ranges = {kind: values_of(kind) for kind in {kind for kind, _ in places.values()}}
    union = any(group in kind.variants for kind in COMPOSITIONS)
    types = listed(sorted({str(place.values.get("type")) for _, place in places.values()}))
    uses: dict[tuple[str, str, type], list[str]] = {}  # by name, what it can be, and the class that it is from: the choices
    for choice, (kind, place) in places.items():
        for name, values in ranges[kind].items():
            # A class that is not one of several has keys that are only for some of its choices.
            here = union or name in place.values or not _written(name, places)
            if here and not _is_group(kind.model_fields[name].annotation):
                words = types if union and name == "type" else values
                uses.setdefault((name, words, _first_to_have(name, kind)), []).append(choice)
    prefix = "" if group == RUN else f"{group}."
    explained = []
    for (name, values, _), names in uses.items():
        defaults = {
            choice: place.values.get(name, kind.model_fields[name].get_default(call_default_factory=True))
            for choice in names
            for kind, place in [places[choice]]
        }
        only_in = () if len(names) == len(places) else _together(names, places)
        explained.append(Setting(f"{prefix}{name}", _meaning(name, names, places), values, defaults, only_in))
    return explained


def _together(names: Sequence[str], places: Mapping[str, tuple[type[Settings], _Place]]) -> tuple[str, ...]:
    """Return some choices, with the type instead where all of a type are among them, and many."""
    by_type: dict[str, list[str]] = {}
    for choice, (_, place) in places.items():
        by_type.setdefault(str(place.values.get("type")), []).append(choice)
    whole = {kind: own for kind, own in by_type.items() if len(own) > _FEW and set(own) <= set(names)}
    single = [name for name in names if not any(name in own for own in whole.values())]
    return (*(f"all of type {kind}" for kind in whole), *single)


def _written(name: str, places: Mapping[str, tuple[type[Settings], _Place]]) -> bool:
    """Return whether any choice sets a setting."""
    return any(name in place.values for _, place in places.values())


def _first_to_have(name: str, settings: type[Settings]) -> type:
    """Return the class that defines a setting: two that define the same name mean two things."""
    return [kind for kind in settings.__mro__ if name in getattr(kind, "__annotations__", {})][-1]


def _meaning(name: str, names: list[str], places: Mapping[str, tuple[type[Settings], _Place]]) -> str:
    """Return a setting's comment. Where they differ, that of most choices with the name of their type, which are the most general
    ones, and of the group's default choice."""
    given = {choice: places[choice][1].meanings[name] for choice in names if name in places[choice][1].meanings}
    default = next(iter(places))
    general = [text for choice, text in given.items() if choice in (default, places[choice][1].values.get("type"))]
    return next((text for text, _ in Counter(general or given.values()).most_common(1)), "")


def of_choice(group: str, choice: str, config_dir: str | None = None) -> list[tuple[str, str, str]]:
    """Return what one choice of a group sets: each full key with its value and the comment of its file."""
    file = find_choice(group, choice, config_dir)
    if file is not None and _is_global(file):
        place, prefix = _file(file), ""
        place.values.pop("defaults", None)
    else:
        place, prefix = _chosen(group, choice, config_dir), f"{group}."
    return [(f"{prefix}{key}", _shown(value), place.meanings.get(key, "")) for key, value in _flat(place.values)]


def all_settings(config_dir: str | None = None) -> dict[str, list[Setting]]:
    """Return all settings by group."""
    return {group: settings_in(group, config_dir) for group in groups()}


def _places(group: str, config_dir: str | None) -> Iterator[tuple[str, tuple[type[Settings], _Place]]]:
    """Yield each choice of a group, its default choice first, or each kind of run where the group has no choices: with its class
    and what its file says."""
    for kind in KINDS if group == RUN else COMPOSITIONS:
        whole = _file(conf_folder() / f"{kind.primary}.yaml")
        info = kind.settings.model_fields.get(group)
        if group == RUN:
            yield kind.primary, (kind.settings, whole)
        elif info is None:
            continue
        elif group in whole.values and not any(group in entry for entry in whole.values["defaults"] if isinstance(entry, dict)):
            own = info.annotation
            assert isinstance(own, type)
            yield f"plmtrain {kind.primary}", (own, _inside(whole, group))
        else:
            default = next(str(entry[group]) for entry in whole.values["defaults"] if isinstance(entry, dict) and group in entry)
            classes = kind.variants[group][1]() if group in kind.variants else {}
            for choice in sorted(choices(group, config_dir), key=lambda choice: (choice != default, choice)):
                place = _chosen(group, choice, config_dir)
                own = classes.get(str(place.values.get("type"))) if classes else info.annotation
                if own is not None:
                    yield choice, (own, place)


def _chosen(group: str, choice: str, config_dir: str | None) -> _Place:
    """Return what a choice's file says about its group, on top of the files of its defaults list."""
    file = find_choice(group, choice, config_dir)
    if file is None:
        return _Place()
    place, below = _file(file), _Place()
    for entry in place.values.pop("defaults", []):
        if isinstance(entry, str) and entry not in ("_self_", choice):
            below = _chosen(group, entry, config_dir).over(below)
    return (_inside(place, group) if _is_global(file) else place).over(below)


def _is_global(file: Path) -> bool:
    """Return whether a file's keys begin at the top, not inside its group."""
    return "@package _global_" in read_text(file)


def _inside(place: _Place, group: str) -> _Place:
    values = place.values.get(group)
    meanings = {key.removeprefix(f"{group}."): text for key, text in place.meanings.items() if key.startswith(f"{group}.")}
    return _Place(values if isinstance(values, dict) else {}, meanings)


def _file(path: Path) -> _Place:
    values = values_in(path)
    return _Place(values if isinstance(values, dict) else {}, comments(path))


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _is_group(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _shown(value: Any) -> str:
    """Write a value as in YAML; a reference to another setting by that setting's key."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, str):
        reference = re.fullmatch(r"\$\{(?:oc\.select:)?([A-Za-z0-9_.]+)(?:,(.*))?\}", value)
        if reference is None:
            return value
        return f"as {reference[1]}" + (f", else {reference[2]}" if reference[2] else "")
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name}: {_shown(inner)}" for name, inner in value.items()) + "}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_shown, value))}]"
    return f"{value:g}" if isinstance(value, float) else str(value)
