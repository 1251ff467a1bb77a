"""From the command line and the YAML files to one plain dict, by Hydra.

Users never see Hydra's own messages: everything that it would refuse is detected before, and reported in plmtrain's words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override
from omegaconf import DictConfig, ListConfig, OmegaConf

from plmtrain.errors import SettingsError, nearest
from plmtrain.settings.composing.arguments import parse_arguments
from plmtrain.settings.composing.folders import OPTIONAL_GROUPS, PRIMARY, choices, conf_folder, find_choice, section, values_in
from plmtrain.settings.composing.foreign_yaml import screen, screen_folder
from plmtrain.settings.composing.merging import files_merged, inside, merge_files
from plmtrain.settings.composing.overrides import Checked, check_overrides, quoted, where
from plmtrain.settings.composing.own_shapes import take_own_shape
from plmtrain.settings.composing.settings_file import WHOLE, SettingsFile, read_settings_file, separated

_ABSENT = object()

_LENGTHS = ("trainer.steps", "trainer.epochs", "trainer.hours")
"""The settings of which one gives the length of a run."""


@dataclass(frozen=True)
class Composed:
    """Settings as plain values, before they are decoded.

    Args:
        values: nested plain values, all interpolations resolved.
        overrides: the command line's overrides by key; the last one of a key.
        groups: the choices passed to Hydra, for finding the file that a value came from.
        chosen: the groups whose choices were on the command line.
        config_dir: the folder of ``--config-dir``.
        errors: all errors so far; decoding adds its own and raises all together.
        place: the origin of the values, if not files that Hydra merged.
        broken: keys without further errors, since their override could not be parsed.
        primary: the kind of run, by the YAML file that composition began with.
        files: by key, the file of a further choice whose values are there.
        file: the file of settings on the command line.
    """

    values: dict[str, Any]
    overrides: dict[str, str] = field(default_factory=dict)
    groups: tuple[str, ...] = ()
    config_dir: str | None = None
    errors: tuple[SettingsError, ...] = ()
    broken: frozenset[str] = frozenset()
    chosen: frozenset[str] = frozenset()
    place: str = ""
    primary: str = PRIMARY
    files: Mapping[str, str] = field(default_factory=dict)
    file: SettingsFile = field(default_factory=SettingsFile)

    @property
    def given(self) -> list[str]:
        """The full keys of the settings on the command line and in its file of settings."""
        return list({**self.file.settings, **self.overrides})

    @cached_property
    def _files(self) -> list[tuple[str, dict[str, Any]]]:
        """The merged files, in order, each with the values that it set."""
        files = []
        for config_path, package in files_merged(self.config_dir, self.groups, self.primary):
            for folder, shown in ((str(conf_folder()), "conf"), (self.config_dir, self.config_dir)):
                path = Path(folder or "") / f"{config_path}.yaml"
                if folder is not None and path.is_file():
                    files.append((f"{shown}/{config_path}.yaml", inside(package, values_in(path))))
                    break
        return files

    def origin(self, key: str) -> str:
        """Return the origin of the value of a full key: an override, or a file."""
        exact = self.overrides.get(key)
        related = [text for other, text in self.overrides.items() if other.startswith(f"{key}.") or key.startswith(f"{other}.")]
        chosen = [text for text in self.groups if text.startswith(f"{key}=") and key in self.chosen]
        if exact or related or chosen:
            return where(exact or [*related, *chosen][-1])
        if (place := self.file.origin(key)) is not None:
            return place
        if self.place:
            return f"{self.place} ({key})"
        return self._in_files(key, set()) or f"setting: {key}"

    def _in_files(self, key: str, seen: set[str]) -> str | None:
        """Return the file that set a key last; where its value refers to another setting, the file that set that one."""
        for place, file in self.files.items():
            if key.startswith(f"{place}."):
                return f"file: {file} ({key.removeprefix(f'{place}.')})"
        for file, values in reversed(self._files):
            inner: Any = values
            for part in key.split("."):
                inner = inner.get(part, _ABSENT) if isinstance(inner, dict) else _ABSENT
            if inner is _ABSENT:
                continue
            reference = re.fullmatch(r"\$\{([A-Za-z0-9_.]+)\}", inner) if isinstance(inner, str) else None
            if reference and reference[1] not in seen:
                return self._in_files(reference[1], {*seen, key}) or f"file: {file} ({key})"
            return f"file: {file} ({key})"
        return None


@lru_cache(maxsize=256)
def parse_override(text: str) -> Override:
    """Parse an override by Hydra's grammar: once when it is checked and when its value is set."""
    return OverridesParser.create().parse_override(text)


def values_of(text: str, choices: Sequence[str] = ()) -> list[str]:
    """Return the values of a sweep's override, each as text; empty where they cannot be enumerated.

    Args:
        text: the override.
        choices: the choices of a group, for ``glob(...)``.
    """
    override = parse_override(text)
    if not override.is_discrete_sweep():
        return []
    pattern: Any = override.value()
    if isinstance(pattern, Glob):
        return [str(choice) for choice in pattern.filter(list(choices))]
    return list(override.sweep_string_iterator())


def _apply_file(config: DictConfig, file: SettingsFile, broken: set[str]) -> Iterator[SettingsError]:
    """Set the values of a file of settings, as if they stood on the command line."""
    for group, values in file.complete.items():
        suggests = OmegaConf.select(config, f"{group}.suggests")
        kept = {} if suggests is None else {"suggests": suggests}
        OmegaConf.update(config, group, {**kept, **values}, merge=False, force_add=True)
    for key, value in file.values.items():
        try:
            OmegaConf.update(config, key, value, merge=key not in WHOLE, force_add=True)
        except Exception:
            broken.add(key)
            parent = key.rpartition(".")[0]
            yield SettingsError(f"{key} cannot be set", file.origin(key) or "", f"'{parent}' is one value: write {parent}: VALUE")


def _apply(config: DictConfig, checked: Checked) -> Iterator[SettingsError]:
    """Set the values of the command line one by one, as Hydra does with ``++``."""
    for key, text in checked.values:
        try:
            OmegaConf.update(config, key, parse_override(text).value(), merge=key not in WHOLE, force_add=True)
        except Exception:
            parent = key.rpartition(".")[0]
            remedy = f"'{parent}' is one value: write {parent}=VALUE" if parent else f"write {key}=VALUE"
            checked.broken.add(key)
            yield SettingsError(f"{key} cannot be set", where(text), remedy)


def _idle_choices(file: SettingsFile, chosen: Mapping[str, str | None]) -> Iterator[SettingsError]:
    """Yield an error for each choice that changes other groups, of which the file has all settings."""
    for group in sorted(chosen.keys() & set(OPTIONAL_GROUPS)):
        if file.complete and chosen[group] is not None:
            sections = ", ".join(file.complete)
            remedy = f"omit {group}=, and change single settings, as in trainer.steps=1000"
            yield SettingsError(
                f"{group}={chosen[group]} has no effect on {sections} of {file.path}", f"file: {file.path}", remedy
            )


def _one_length(config: DictConfig, checked: Checked, file: SettingsFile) -> Iterator[SettingsError]:
    """Give a run the length of the command line, in steps, in epochs or in hours, whatever a file says about the other two."""
    given = {key: text for key, text in checked.values if not text.endswith("=null")}
    lengths = [key for key in _LENGTHS if key in given]
    if len(lengths) > 1:
        words = " or of ".join(key.removeprefix("trainer.") for key in lengths)
        what = f"a run has a number of {words}, not {'both' if len(lengths) == 2 else 'all of them'}"
        yield SettingsError(what, where(given[lengths[-1]]), "give one of them")
        return
    chosen = lengths or [key for key in _LENGTHS if file.values.get(key) is not None][-1:]
    for key in _LENGTHS[1:] if chosen else ():
        if key not in chosen:
            OmegaConf.update(config, key, None, force_add=True)


def _with_parts(
    config: DictConfig,
    overrides: Mapping[str, str],
    config_dir: str | None,
    primary: str,
    files: dict[str, str],
    broken: set[str],
    file: SettingsFile,
) -> Iterator[SettingsError]:
    """Fill each part of a combined objective from the YAML of its name, or from the one that it names.

    Args:
        config: gets the parts' settings, below those that it already has.
        overrides: the command line's overrides by key.
        config_dir: the folder of ``--config-dir``.
        primary: the kind of run.
        files: gets the file of each part.
        broken: gets the keys of parts that do not exist.
        file: the file of settings on the command line.
    """
    objective = config.get("objective")
    shares, parts = (objective.get(key) if isinstance(objective, DictConfig) else None for key in ("shares", "parts"))
    for name in map(str, shares) if isinstance(shares, DictConfig) else ():
        place = f"objective.parts.{name}"
        own = parts.get(name) if isinstance(parts, DictConfig) else None
        own = OmegaConf.create({}) if own is None else own
        if not isinstance(own, DictConfig) or "type" in own:
            continue  # invalid, which decoding will report, or complete: it comes from a run
        choice = str(own.get("name", name))
        valid = choices("objective", config_dir)
        if choice not in valid:
            broken.add(place)
            text = overrides.get("objective.shares") or overrides.get(f"objective.shares.{name}")
            origin = where(text) if text else file.origin("objective.shares") or f"setting: objective.shares.{name}"
            yield SettingsError(f"objective.shares names '{choice}', which is not an objective", origin, nearest(choice, valid))
            continue
        if config_dir is not None and (refused := screen(config_dir, {"objective": choice})):
            broken.add(place)
            yield from refused
            continue
        files[place] = (
            f"conf/objective/{choice}.yaml" if find_choice("objective", choice) else f"{config_dir}/objective/{choice}.yaml"
        )
        below = merge_files(config_dir, (f"objective={quoted(choice)}",), primary)["objective"]
        OmegaConf.set_struct(below, False)
        OmegaConf.update(config, place, OmegaConf.merge(below, own), merge=False, force_add=True)


def _resolve(node: Any, key: str, errors: list[tuple[str, str]]) -> Any:
    """Return a node's plain value; what cannot be resolved is noted in ``errors`` and omitted."""
    if isinstance(node, DictConfig):
        values = {}
        for name in node:
            full = f"{key}.{name!s}" if key else str(name)
            if OmegaConf.is_missing(node, name):
                errors.append((full, "missing"))
                continue
            try:
                inner = node[name]
            except Exception:  # OmegaConf's errors, and recursion between settings that refer to each other
                errors.append((full, "interpolation"))
                continue
            values[str(name)] = _resolve(inner, full, errors)
        return values
    if isinstance(node, ListConfig):
        return [_resolve(inner, f"{key}.{index}", errors) for index, inner in enumerate(node)]
    return node


def _suggested(
    chosen: Mapping[str, str | None], config_dir: str | None, primary: str, errors: list[SettingsError]
) -> dict[str, str]:
    """Return the trainer that the size suggests for pretraining, if neither a trainer nor a recipe is chosen; note an error if
    there is no such trainer."""
    size = chosen.get("size")
    if primary != PRIMARY or size is None or chosen.get("experiment") is not None or "trainer" in chosen:
        return {}
    values: Any = section("size", size, config_dir)
    for key in ("model", "suggests", "trainer"):
        values = values.get(key) if isinstance(values, dict) else None
    if values is None:
        return {}
    if find_choice("trainer", str(values), config_dir) is None:
        place = f"file: {find_choice('size', size, config_dir)} (model.suggests.trainer)"
        remedy = nearest(str(values), choices("trainer", config_dir))
        errors.append(SettingsError(f"there is no trainer '{values}'", place, remedy))
        return {}
    return {"trainer": str(values)}


def compose(arguments: Sequence[str], config_dir: str | None = None, primary: str = PRIMARY) -> Composed:
    """Compose the settings of a run. Invalid settings raise nothing here: they are reported after decoding, all together.

    Args:
        arguments: Hydra overrides, ``GROUP=CHOICE`` and ``KEY=VALUE``; ``--config-dir DIR`` and a file of settings may be among
            them.
        config_dir: a folder with the user's own YAML files, besides plmtrain's own.
        primary: the kind of run: the name of the YAML file that composition begins with.

    Raises:
        SettingsErrors: for unknown options among the arguments.
    """
    options = parse_arguments(arguments)
    config_dir = config_dir or options.config_dir
    path, overrides = separated(options.overrides)
    checked = check_overrides(overrides, parse_override, config_dir, primary=primary)
    file = read_settings_file(path, primary, config_dir).under(checked.groups, [key for key, _ in checked.values])
    errors = checked.errors
    errors += file.errors
    checked.broken |= file.broken
    if "" in file.broken:
        return Composed({}, errors=tuple(errors), broken=file.broken, primary=primary)
    chosen = {**file.groups, **checked.groups}
    errors += _idle_choices(file, chosen)
    if config_dir is not None:
        errors += screen_folder(config_dir)
        refused = screen(config_dir, {group: choice for group, choice in chosen.items() if choice is not None})
        if refused:
            return Composed({}, errors=(*errors, *refused), broken=frozenset({""}), primary=primary)
    chosen |= _suggested(chosen, config_dir, primary, errors)
    groups = tuple(f"{group}={quoted(choice)}" for group, choice in chosen.items() if choice is not None)  # else the default
    try:
        config = merge_files(config_dir, groups, primary)
    except Exception as error:
        if config_dir is None:
            raise  # the shipped files are at fault, not the user
        what = f"the YAML files of {', '.join(groups) or 'the defaults'} do not fit together ({type(error).__name__})"
        remedy = "set each key where the shipped files of its group have it"
        problem = SettingsError(what, f"folder: {config_dir}", remedy)
        return Composed({}, errors=(*errors, problem), broken=frozenset({""}), primary=primary)
    take_own_shape(config, config_dir)
    composed = _finish(config, checked, groups, config_dir, primary, file)
    for group in ("model", "trainer"):
        if isinstance(composed.values.get(group), dict):
            composed.values[group].pop("suggests", None)  # no longer needed: the other groups have interpolated its values
    return composed


def change(values: Mapping[str, Any], arguments: Sequence[str], primary: str = PRIMARY) -> Composed:
    """Override settings that exist already; of the groups only ``data`` can be chosen again.

    Args:
        values: nested plain values, as in a run.
        arguments: Hydra overrides, and ``--config-dir DIR``.
        primary: the kind of run.

    Raises:
        SettingsErrors: for unknown options among the arguments.
    """
    options = parse_arguments(arguments)
    checked = check_overrides(options.overrides, parse_override, options.config_dir, primary=primary)
    for group in sorted(checked.groups.keys() - {"data"}):
        remedy = f"change single settings of it: {group}.KEY=VALUE"
        checked.errors.append(
            SettingsError(f"{group} belongs to the run and cannot be chosen again", f"command line: {group}=", remedy)
        )
    config = OmegaConf.create(dict(values))
    if checked.groups.get("data") is not None:
        composed = compose([f"data={checked.groups['data']}"], options.config_dir)
        checked.errors += composed.errors
        config["data"] = composed.values.get("data", {})
    return _finish(config, checked, (), None, primary, SettingsFile())


def _finish(
    config: DictConfig, checked: Checked, groups: tuple[str, ...], config_dir: str | None, primary: str, file: SettingsFile
) -> Composed:
    """Set the values of the file of settings and of the command line, and resolve references to other settings."""
    OmegaConf.set_struct(config, False)
    errors = [*checked.errors, *_apply_file(config, file, checked.broken), *_apply(config, checked)]
    errors += _one_length(config, checked, file)
    files: dict[str, str] = {}
    errors += _with_parts(config, dict(checked.values), config_dir, primary, files, checked.broken, file)
    problems: list[tuple[str, str]] = []
    values = _resolve(config, "", problems)
    broken = checked.broken | ({""} if "experiment" in checked.broken else set()) | {key for key, _ in problems}
    composed = Composed(
        values,
        dict(checked.values),
        groups,
        config_dir,
        broken=frozenset(broken),
        chosen=frozenset(checked.groups),
        primary=primary,
        files=files,
        file=file,
    )
    for key, problem in problems:
        what = f"{key} has no value" if problem == "missing" else f"{key} refers to a setting that does not exist"
        errors.append(SettingsError(what, composed.origin(key), f"give it one: {key}=VALUE"))
    return replace(composed, errors=tuple(errors))
