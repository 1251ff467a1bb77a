"""YAML files that plmtrain did not ship: read before Hydra reads them, and refused if they contain more than plain settings.

A configuration from a stranger must not run code, read the environment, or exhaust the memory, so tags, anchors, resolvers, keys
that begin with ``_``, changes of Hydra's own settings, and very large files are refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from plmtrain.errors import SettingsError
from plmtrain.files import read_text
from plmtrain.settings.composing.folders import GROUPS, choices, conf_folder, find_choice

LARGEST = 100_000
"""The most bytes of a file of settings."""

LARGEST_RUN = 2**20
"""The most bytes of a file with all settings of a run, which may list many files and labels."""

DEEPEST = 20
"""The greatest depth of nested settings."""

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The safe loader, in C if available: a hostile file must not take long either."""
_PLAIN_INTERPOLATION = re.compile(r"\$\{[A-Za-z][A-Za-z0-9_]*(\.[A-Za-z0-9_]+)*\}")
_PACKAGE = re.compile(r"^[ \t]*#[ \t]*@package(.*)$", re.MULTILINE)
_BY_LABEL = frozenset({"label_words"})
"""Settings with a key for each label, which may be a whole number; it is read as text."""
_HEADER = re.compile(r"\s*(#\s*@|$)")
"""The beginning of a line that may precede it."""


def unsafe(value: Any, key: str = "") -> Iterator[tuple[str, str, str]]:
    """Yield everything that settings may not contain: keys that begin with ``_`` or are not text, and interpolations that are not
    plain.

    Returns:
        for each of them: the full key, what is wrong, and the remedy.
    """
    if isinstance(value, dict):
        for name, inner in value.items():
            full = f"{key}.{name}" if key else str(name)
            if type(name) is int and key.rpartition(".")[2] in _BY_LABEL:
                yield from unsafe(inner, full)
            elif not isinstance(name, str):
                yield full, f"the key {name!r} is not text", "write keys as plain names"
            elif name.startswith("_"):
                yield full, f"keys that begin with '_' are refused: '{name}'", "remove it: a setting is a plain value, never code"
            else:
                yield from unsafe(inner, full)
    elif isinstance(value, (list, tuple)):
        for index, inner in enumerate(value):
            yield from unsafe(inner, f"{key}.{index}" if key else str(index))
    elif isinstance(value, str) and "${" in _PLAIN_INTERPOLATION.sub("", value):
        yield (
            key,
            f"'{key}' has an interpolation that is refused: {value[:80]!r}",
            "refer to another setting only, as in ${trainer.steps}",
        )


def _where(path: Path, key: str = "") -> str:
    return f"file: {path}" + (f" ({key})" if key else "")


def read_plain(path: Path) -> tuple[Any, list[SettingsError]]:
    """Return the value of a file with all settings of a run, or the reasons why it is refused."""
    _, value, refused = _parse(path, LARGEST_RUN)
    return value, refused


def _parse(path: Path, largest: int = LARGEST) -> tuple[str, Any, list[SettingsError]]:
    """Return the text and value of a file, or the reason why it is refused."""
    where = _where(path)
    try:
        size = path.stat().st_size
        if size > largest:
            remedy = f"keep it below {largest:,} bytes"
            return "", None, [SettingsError(f"a file of settings with {size:,} bytes is refused", where, remedy)]
        text = read_text(path)
        depth = 0
        for event in yaml.parse(text, Loader=_LOADER):
            line = f"file: {path}:{event.start_mark.line + 1}"
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > DEEPEST:
                return "", None, [SettingsError("a file of settings is nested too deeply", line, "write plain settings")]
            if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
                return "", None, [SettingsError("YAML anchors and aliases are refused", line, "write the values out")]
            if getattr(event, "tag", None):
                return "", None, [SettingsError(f"YAML tags are refused: {event.tag}", line, "write a plain value")]
        return text, _LOADER(text).get_single_data(), []
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f"file: {path}:{mark.line + 1}" if mark else where
        return (
            "",
            None,
            [SettingsError(f"not YAML: {getattr(error, 'problem', None) or 'it cannot be read'}", line, "correct the line")],
        )
    except (OSError, UnicodeDecodeError) as error:
        return "", None, [SettingsError("a file of settings cannot be read", where, str(error).splitlines()[0])]


def _defaults(entries: Any, group: str, path: Path) -> Iterator[tuple[str, str] | SettingsError]:
    """Yield the choices that a file's defaults list names."""
    remedy = "write '- _self_', '- NAME' of the same folder, or '- override /GROUP: NAME'"
    if not isinstance(entries, list):
        yield SettingsError("defaults must be a list", _where(path, "defaults"), remedy)
        return
    for entry in entries:
        if entry == "_self_":
            continue
        if isinstance(entry, str):
            yield group, entry
            continue
        pairs = list(entry.items()) if isinstance(entry, dict) else []
        key, choice = pairs[0] if len(pairs) == 1 else ("", "")
        target = str(key).removeprefix("override").strip().removeprefix("/")
        if "/" not in str(key) or target not in GROUPS or not (choice is None or isinstance(choice, str)):
            yield SettingsError(f"defaults has an entry that is refused: {entry!r}", _where(path, "defaults"), remedy)
        elif choice is not None:
            yield target, choice


def screen_folder(config_dir: str) -> list[SettingsError]:
    """Return the errors of the user's own folder as a whole."""
    folder = Path(config_dir)
    errors = []
    if not any((folder / group).is_dir() for group in GROUPS):
        remedy = f"put your YAML files into {', '.join(GROUPS[:3])}, ... in it"
        errors.append(SettingsError("--config-dir has none of the folders of settings", f"folder: {folder}", remedy))
    if (folder / "hydra").exists():
        # Hydra would instantiate whatever launchers and sweepers name.
        errors.append(SettingsError("--config-dir has settings of Hydra itself", f"folder: {folder / 'hydra'}", "remove them"))
    return errors


def screen(config_dir: str, chosen: dict[str, str]) -> list[SettingsError]:
    """Return the errors of all the user's own files that a composition would read.

    Args:
        config_dir: the folder of ``--config-dir``.
        chosen: the choice of each group on the command line.
    """
    errors: list[SettingsError] = []
    waiting, seen = list(chosen.items()), set()
    while waiting:
        group, choice = waiting.pop()
        path = Path(config_dir) / group / f"{choice}.yaml"
        if (group, choice) in seen:
            continue
        seen.add((group, choice))
        if choice not in choices(group, config_dir):
            errors.append(
                SettingsError(
                    f"a defaults list names {group}={choice}, and there is no such file",
                    f"folder: {config_dir}",
                    "name an existing one",
                )
            )
            continue
        if find_choice(group, choice) is not None:
            if path.is_file():
                own = conf_folder() / group / f"{choice}.yaml"
                errors.append(
                    SettingsError(
                        f"{group}={choice} is plmtrain's own, and yours has the same name",
                        _where(path),
                        f"rename yours: {own.name} would never be read",
                    )
                )
            continue
        text, value, refused = _parse(path)
        errors += refused
        if refused:
            continue
        for match in _PACKAGE.finditer(text):
            package = match[1].strip()
            if not all(map(_HEADER.match, text[: match.start()].splitlines())):
                what = f"'# @package {package}' is ignored, since it is not the first line"
                errors.append(SettingsError(what, _where(path), "move it to the top"))
            if package not in ("_global_", "_group_", group):
                errors.append(
                    SettingsError(
                        f"the package '{package}' is refused", _where(path), "write # @package _global_, or no such line"
                    )
                )
        if value is None:
            continue
        if not isinstance(value, dict):
            errors.append(
                SettingsError("a file of settings must have 'key: value' lines", _where(path), "see plmtrain list for examples")
            )
            continue
        settings = {key: inner for key, inner in value.items() if key != "defaults"}
        if "hydra" in settings:
            errors.append(SettingsError("Hydra's own settings are refused", _where(path, "hydra"), "remove them"))
        errors += [SettingsError(what, _where(path, key), remedy) for key, what, remedy in unsafe(settings)]
        for item in _defaults(value.get("defaults", []), group, path):
            if isinstance(item, SettingsError):
                errors.append(item)
            else:
                waiting.append(item)
    return errors
