"""Overrides of the command line, checked one by one before anything is composed."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, Protocol

from plmtrain.errors import SettingsError, nearest
from plmtrain.settings.composing.folders import OPTIONAL_GROUPS, PRIMARY, choices, foreign_group, groups_of
from plmtrain.settings.composing.foreign_yaml import DEEPEST, unsafe
from plmtrain.settings.other_tools import is_something_else

LONGEST = 20_000
"""The most characters of an override."""

_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_]*(\.[A-Za-z0-9][A-Za-z0-9_]*)*")


class Parsed(Protocol):
    """An override as Hydra's parser returns it; the attributes that are used here."""

    key_or_group: str
    package: str | None

    def value(self) -> Any: ...
    def is_sweep_override(self) -> bool: ...
    def is_delete(self) -> bool: ...
    def is_add(self) -> bool: ...
    def is_force_add(self) -> bool: ...


@dataclass
class Checked:
    """Overrides after their check.

    Args:
        groups: the choice of each group that the command line names.
        values: the other overrides as (key, text), in order.
        swept: the keys with several values.
        hydra: overrides of Hydra's launchers and sweepers, unchanged.
        broken: groups whose choice could not be parsed; their contents are not checked.
        errors: all errors.
    """

    groups: dict[str, str | None] = field(default_factory=dict)
    values: list[tuple[str, str]] = field(default_factory=list)
    swept: list[str] = field(default_factory=list)
    hydra: list[str] = field(default_factory=list)
    broken: set[str] = field(default_factory=set)
    errors: list[SettingsError] = field(default_factory=list)


def _shown(text: str) -> str:
    line = text if text.isprintable() else ascii(text)[1:-1]
    return line if len(line) <= 120 else line[:117] + "..."


def _depth(text: str) -> int:
    """Return how deep brackets are nested in a text, whether they match or not."""
    opened = (1 if character in "[{(" else -1 if character in "]})" else 0 for character in text)
    return max(accumulate(opened), default=0)


def where(text: str) -> str:
    """Return the line of an error message that shows an override."""
    return f"command line: {_shown(text)}"


def check_overrides(
    overrides: Sequence[str],
    parse: Callable[[str], Parsed],
    config_dir: str | None,
    sweep: bool = False,
    primary: str = PRIMARY,
) -> Checked:
    """Check overrides one by one.

    Args:
        overrides: of the command line.
        parse: Hydra's parser; whatever it raises means that the override is malformed.
        config_dir: the folder of ``--config-dir``.
        sweep: whether several values, and settings of Hydra's launchers and sweepers, are allowed.
        primary: the kind of run.
    """
    checked = Checked()
    groups = groups_of(primary)

    def wrong(text: str, what: str, remedy: str) -> None:
        checked.errors.append(SettingsError(what, where(text), remedy))

    for text in overrides:
        name = _shown(text.partition("=")[0].lstrip("+~"))
        if "=" not in text and not text.startswith("~"):
            wrong(text, f"'{_shown(text)}' is not an override", "write KEY=VALUE, as in trainer.steps=1000")
            continue
        if len(text) > LONGEST:
            wrong(
                text,
                f"an override of {len(text):,} characters is refused",
                f"keep it below {LONGEST:,}: a folder or a glob names many files",
            )
            continue
        try:
            if _depth(text) > DEEPEST:
                raise ValueError("nested too deeply")
            parsed = parse(text)
            value = None if parsed.is_sweep_override() else parsed.value()
            offences = list(unsafe(value, name))
        except Exception:  # parsers raise many things on hostile text; to the user it is one error
            wrong(
                text,
                f"'{_shown(text)}' cannot be parsed",
                f"write {name or 'KEY'}=VALUE; quote special characters: '{name or 'KEY'}=\"a, b\"'",
            )
            checked.broken.add(name)
            continue
        key = parsed.key_or_group
        if key == "hydra" or key.startswith(("hydra.", "hydra/")):
            if (
                sweep
                and key.startswith(("hydra/launcher", "hydra/sweeper", "hydra.launcher.", "hydra.sweeper."))
                and "_" not in {part[0] for part in re.split(r"[./]", key) if part}
                and not offences
            ):
                checked.hydra.append(text)
            else:
                wrong(
                    text,
                    f"'{_shown(key)}' is not a setting of plmtrain",
                    "remove it; a sweep (-m) takes hydra/launcher=, hydra/sweeper= and their settings",
                )
            continue
        if parsed.is_delete() or parsed.is_add() or parsed.is_force_add():
            prefix = text[: len(text) - len(text.lstrip("+~"))]
            wrong(
                text,
                f"'{prefix}' is refused: settings are neither added nor removed",
                f"write {_shown(text.lstrip('+~'))}" if "=" in text else "remove it",
            )
            continue
        if any(part.startswith("_") for part in key.split(".")):
            wrong(
                text,
                f"keys that begin with '_' are refused: '{_shown(key)}'",
                "remove it: a setting is a plain value, never code",
            )
            continue
        if parsed.package is not None or not _KEY.fullmatch(key):
            wrong(text, f"there is no setting '{_shown(text.partition('=')[0])}'", nearest(re.split(r"[/@]", key)[0], groups))
            continue
        if (owner := foreign_group(primary, key)) is not None and not isinstance(value, dict):
            wrong(text, f"plmtrain {primary} has no group '{key}'", f"remove it: {key}= is for plmtrain {owner}")
            checked.broken.add(key)
            continue
        if offences:
            checked.errors += [SettingsError(what, where(text), remedy) for _, what, remedy in offences]
            continue
        if parsed.is_sweep_override():
            if not sweep:
                several = text.partition("=")[2]
                wrong(text, f"{key} has several values", f"write {key}=[{_shown(several)}] for a list, or add -m to run each")
                checked.broken.add(key)
                continue
            checked.swept.append(key)
        if key in groups:
            _choose(checked, wrong, text, key, parsed, value, config_dir, sweep=sweep)
        else:
            checked.values.append((key, text))
    return checked


def _choose(
    checked: Checked,
    wrong: Callable[[str, str, str], None],
    text: str,
    group: str,
    parsed: Parsed,
    value: Any,
    config_dir: str | None,
    *,
    sweep: bool,
) -> None:
    """Check the choice of a group; in a sweep the name of a folder of choices stands for all of them."""
    if group in checked.groups:
        wrong(text, f"{group} is chosen twice", "remove one of the two")
    elif parsed.is_sweep_override():
        checked.groups[group] = None
        checked.values.append((group, text))
        return
    elif value is None and group in OPTIONAL_GROUPS:
        checked.groups[group] = None
        return
    elif isinstance(value, (str, int, float)) and str(value) in (valid := choices(group, config_dir)):
        checked.groups[group] = str(value)
        return
    else:
        shown = text.partition("=")[2]
        valid = choices(group, config_dir)
        if isinstance(value, (dict, list)):
            wrong(
                text,
                f"{group} takes the name of one of its choices",
                f"write {group}=NAME, and {group}.KEY=VALUE to change it; {nearest('', valid)}",
            )
        else:
            name = str(value)
            if (members := [choice for choice in valid if choice.startswith(f"{name}/")]) and sweep:
                checked.swept.append(group)
                checked.groups[group] = None
                checked.values.append((group, f"{group}={','.join(members)}"))
                return
            if members:
                what = f"{group}={name} has {len(members)} choices: {', '.join(members)}"
                wrong(text, what, f"name one of them, or add -m to run each: plmtrain finetune -m {group}={name}")
                checked.broken.add(group)
                return
            remedy = f"use one of: {', '.join(valid)}" if is_something_else(name) else nearest(name, valid)
            wrong(text, f"{group} has no choice '{_shown(shown)}'", remedy)
    checked.broken.add(group)


def quoted(choice: str) -> str:
    """Write a text as a value in Hydra's grammar."""
    if choice.replace("_", "").replace("/", "").isalnum():
        return choice
    return "'" + choice.replace("\\", "\\\\").replace("'", "\\'") + "'"
