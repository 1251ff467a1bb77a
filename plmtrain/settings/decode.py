"""From one plain dict to checked settings. All errors of a run are reported together, each with its origin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic

from pydantic import ValidationError

from plmtrain.errors import SettingsError, SettingsErrors, nearest
from plmtrain.settings.base import Settings
from plmtrain.settings.composing.compose import Composed, change
from plmtrain.settings.composing.foreign_yaml import unsafe
from plmtrain.settings.identity import kind_of
from plmtrain.settings.kinds import FINETUNE, KINDS, PRETRAIN, Classes, RunKind, RunT, keys_of
from plmtrain.settings.rules import broken_rules
from plmtrain.settings.run import FinetuneSettings, PretrainSettings, RunSettings
from plmtrain.settings.wording import nearest_key, what_is_wrong


def all_keys(kind: RunKind[Any], used: Classes) -> list[str]:
    """Return every full key of a kind of run.

    Args:
        kind: of run.
        used: the settings class of each group that has several.
    """
    rest = [key for key in keys_of(kind.settings) if not key.startswith(tuple(f"{group}." for group in used))]
    return sorted([*rest, *(key for group, settings in used.items() for key in keys_of(settings, f"{group}."))])


def _class_of(
    group: str, values: Mapping[str, Any], classes: Classes
) -> tuple[type[Settings] | None, tuple[str, str, str] | None]:
    """Return the settings class that ``type`` names, or what is wrong with it: its key, the error, and the remedy."""
    section = values.get(group)
    name = section.get("type") if isinstance(section, dict) else None
    if isinstance(name, str) and name in classes:
        return classes[name], None
    if name is None:
        return None, (f"{group}.type", f"{group} has no type", f"set {group}.type in its YAML; {nearest('', classes)}")
    return None, (f"{group}.type", f"there is no type of {group} '{name}'", nearest(str(name), classes))


def pretrain_settings(composed: Composed) -> PretrainSettings:
    """Decode the settings of a pretraining run; errors as from ``run_settings``."""
    return run_settings(composed, PRETRAIN)


def finetune_settings(composed: Composed) -> FinetuneSettings:
    """Decode the settings of a fine-tuning run; errors as from ``run_settings``."""
    return run_settings(composed, FINETUNE)


@dataclass(frozen=True)
class Judged(Generic[RunT]):
    """Composed settings after their check.

    Args:
        settings: all of them; None if anything is wrong.
        sections: the groups without errors, decoded; all groups if there are no errors at all.
        errors: all errors, including those of composing.
    """

    settings: RunT | None
    sections: Mapping[str, Any]
    errors: Sequence[SettingsError]


def run_settings(composed: Composed, kind: RunKind[RunT]) -> RunT:
    """Decode the settings of a run.

    Raises:
        SettingsErrors: all errors in them, including those of composing.
    """
    judged = judge(composed, kind)
    if judged.settings is None:
        raise SettingsErrors(judged.errors)
    return judged.settings


def judge(composed: Composed, kind: RunKind[RunT]) -> Judged[RunT]:
    """Decode the settings of a run as far as possible."""
    errors = list(composed.errors)
    if "" in composed.broken:
        return Judged(None, {}, errors)
    wrong: dict[str, tuple[str, str]] = {}  # by full key: what is wrong, and what to do
    values = dict(composed.values)
    decoded: dict[str, Settings] = {}
    used: dict[str, type[Settings]] = {}
    bases = kind.variants
    for group, (_, known) in bases.items():
        classes = known()
        chosen, problem = _class_of(group, values, classes)
        used[group] = chosen or next(iter(classes.values()))
        if problem is not None:
            wrong[problem[0]] = problem[1:]
    valid = all_keys(kind, used)
    own = {name: info.annotation for name, info in kind.settings.model_fields.items() if name not in used}
    groups = used | {name: each for name, each in own.items() if isinstance(each, type) and issubclass(each, Settings)}
    valid += [f"{group}.{key}" for group, chosen in groups.items() for key in chosen.keys_within(values.get(group))]
    for group, (base, _) in bases.items():
        if f"{group}.type" not in wrong:
            try:
                decoded[group] = used[group].model_validate(values[group])
            except ValidationError as error:
                wrong |= what_is_wrong(error, valid, f"{group}.")
        # The other groups are checked nevertheless: an empty instance replaces one that could not be decoded.
        values[group] = decoded.get(group) or base.model_construct()
    settings: RunT | None = None
    try:
        settings = kind.settings.model_validate(values)
    except ValidationError as error:
        wrong |= what_is_wrong(error, valid)
    sections: dict[str, Any] = {**decoded}
    if settings is not None:
        sections |= {name: getattr(settings, name) for name in kind.settings.model_fields if name not in bases}
    else:
        sections |= _sound_sections(composed.values, wrong, kind)
    # A group whose choice is unknown has the values of another one, about which no rule says anything.
    for key, what, remedy in broken_rules({name: each for name, each in sections.items() if name not in composed.broken}):
        wrong.setdefault(key, (what, remedy))
    if "resume" in sections:
        for key in sections["resume"].allow:
            if not any(other == key or other.startswith(f"{key}.") for other in valid):
                wrong.setdefault("resume.allow", (f"resume.allow names an unknown setting: '{key}'", nearest_key(key, valid)))
            elif kind_of(key) == "structural":
                wrong.setdefault(
                    "resume.allow",
                    (
                        f"resume.allow cannot name {key}: the checkpoint does not fit another value",
                        "give the new run another name=",
                    ),
                )
    silent = composed.broken
    for key, (what, remedy) in wrong.items():
        if not any(key == other or key.startswith(f"{other}.") or other.startswith(f"{key}.") for other in silent):
            errors.append(SettingsError(what, composed.origin(key), remedy))
    assert errors or settings is not None
    return Judged(None if errors else settings, sections, errors)


def _sound_sections(values: Mapping[str, Any], wrong: Mapping[str, Any], run: RunKind[Any]) -> dict[str, Any]:
    """Decode each group without errors alone, so that rules between groups are still checked."""
    sound: dict[str, Any] = {}
    for name, info in run.settings.model_fields.items():
        kind = info.annotation
        whole = not any(key == name or key.startswith(f"{name}.") for key in wrong)
        if name not in run.variants and isinstance(kind, type) and issubclass(kind, Settings) and name in values and whole:
            sound[name] = kind.model_validate(values[name])
    return sound


def settings_from_run(config: Mapping[str, Any]) -> RunSettings:
    """Decode a run's ``config.yaml``. It is checked like a stranger's file: a run may have been downloaded.

    Raises:
        SettingsErrors: all errors in it.
    """
    place = "file: config.yaml of the run"
    errors = [SettingsError(what, place, "check that this is a run of plmtrain") for _, what, _ in unsafe(config)]
    kind: RunKind[Any] = FINETUNE if "task" in config else PRETRAIN
    values = {key: value for key, value in config.items() if key in kind.settings.model_fields}
    decoded: RunSettings = run_settings(Composed(values, errors=tuple(errors), place=place), kind)
    return decoded


def completed(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the values of a run's ``config.yaml``, completed by the defaults of settings that a later version of plmtrain added;
    unchanged if this version cannot read it."""
    try:
        return settings_from_run(config).model_dump(mode="json")
    except SettingsErrors:
        return config


def override(settings: RunT, arguments: Sequence[str]) -> RunT:
    """Override settings of a run.

    Raises:
        SettingsErrors: all errors in them.
    """
    kind = next(kind for kind in KINDS if isinstance(settings, kind.settings))
    overridden: RunT = run_settings(change(settings.model_dump(mode="json"), arguments, kind.primary), kind)
    return overridden
