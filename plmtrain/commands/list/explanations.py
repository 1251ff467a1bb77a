"""Explanations of groups, choices and settings, as plain values and as text."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from plmtrain.errors import SettingsError, nearest
from plmtrain.settings.composing.folders import GROUPS, choices
from plmtrain.settings.explained import RUN, Setting, all_settings, groups, of_choice, settings_in
from plmtrain.settings.wording import nearest_key

Told = tuple[dict[str, Any], str]
"""An answer, as plain values and as text."""


def filled(text: str, width: int, indent: int = 0, further: int = 0) -> str:
    """Wrap a text.

    Args:
        text: one paragraph.
        width: columns.
        indent: of all lines.
        further: of all lines but the first, besides.
    """
    first = " " * indent
    return textwrap.fill(
        text, width, initial_indent=first, subsequent_indent=first + " " * further, break_long_words=False, break_on_hyphens=False
    )


def group(name: str, config_dir: str | None, width: int) -> Told:
    """Explain every setting of a group."""
    return _told(settings_in(name, config_dir) if name in groups() else [], width)


def choice(word: str, config_dir: str | None, width: int) -> Told:
    """Explain what a choice, written ``GROUP=CHOICE``, sets.

    Raises:
        SettingsError: if there is no such group or choice.
    """
    group, _, name = word.partition("=")
    if group not in GROUPS:
        raise SettingsError(f"there is no group '{group}'", f"plmtrain list {word}", nearest(group, GROUPS))
    if name not in (valid := choices(group, config_dir)):
        raise SettingsError(f"{group} has no choice '{name}'", f"plmtrain list {word}", nearest(name, valid))
    lines = of_choice(group, name, config_dir)
    text = [f"{key}: {value}" + (f"\n{filled(meaning, width, 4)}" if meaning else "") for key, value, meaning in lines]
    return {key: {"value": value, "meaning": meaning} for key, value, meaning in lines}, "\n".join(text)


def key(word: str, config_dir: str | None, width: int) -> Told:
    """Explain the setting of a full key.

    Raises:
        SettingsError: if there is none, with the nearest.
    """
    group = word.partition(".")[0] if "." in word else RUN
    named = [setting for setting in settings_in(group, config_dir) if setting.key == word] if group in groups() else []
    if not named:
        keys = sorted({setting.key for settings in all_settings(config_dir).values() for setting in settings})
        named_so = "." in word or any(key.endswith(f".{word}") for key in keys)
        remedy = "" if named_so else nearest(word, [*GROUPS, *groups(), "matrix"])
        remedy = remedy if remedy.startswith("did you mean") else nearest_key(word, keys)
        raise SettingsError(f"there is no group or setting '{word}'", f"plmtrain list {word}", remedy)
    return _told(named, width)


def _told(settings: Sequence[Setting], width: int) -> Told:
    values: dict[str, Any] = {}
    for setting in settings:
        values.setdefault(setting.key, []).append({name: value for name, value in asdict(setting).items() if name != "key"})
    return values, "\n".join(_text(setting, width) for setting in settings)


def _text(setting: Setting, width: int) -> str:
    """Write a setting in three paragraphs or four: its key, its meaning, what it can be, and the choices that have it."""
    lines = [
        setting.key,
        filled(setting.meaning, width, 4),
        filled(f"{setting.values}; default {setting.default()}", width, 4, 2),
    ]
    if setting.only_in:
        lines.append(filled(f"only in {', '.join(setting.only_in)}", width, 4, 2))
    return "\n".join(lines)
