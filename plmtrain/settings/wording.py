"""pydantic's errors in plmtrain's words: what is wrong with a key, and what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from pydantic import ValidationError

from plmtrain.errors import closest, nearest
from plmtrain.settings.other_tools import elsewhere, is_something_else, remedy
from plmtrain.settings.ranges import number

Broken = tuple[str, str, str]
"""The key at which a broken rule is reported, what is wrong, and what to do."""

Rule = tuple[tuple[str, ...], Callable[..., Iterator[Broken]]]
"""Groups of settings, and a check of what they have in them together."""

_OF_MANY = frozenset({"end", "family", "format", "keep", "label", "mask", "mode", "name", "path", "start", "text", "type"})
"""Names that mean something else in each group: the same name elsewhere is no suggestion."""

_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "finite_number": "a finite number",
    "bool": "true or false",
    "string": "text",
    "tuple": "a list",
    "list": "a list",
    "dict": "a set of keys",
    "model": "a group of settings",
    "model_attributes": "a group of settings",
}
_BOUNDS = {
    "greater_than": ("gt", "above"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "below"),
    "less_than_equal": ("le", "at most"),
}


def nearest_key(key: str, valid: Sequence[str]) -> str:
    """Return a remedy for an unknown full key: what it is called here, if another tool has that name; else the setting of the
    same or nearly the same name; else all names of its group.

    A suggestion must mean the same as what was written. So names are compared without their groups, which would make any two of a
    group similar, and only a slip of the finger counts as similar.
    """
    if (theirs := elsewhere(key)) is not None:
        return remedy(key, theirs, valid)
    group, _, name = key.rpartition(".")
    name = name.lower()
    groups = sorted({other.split(".")[0] for other in valid if "." in other})
    beside = {other.rpartition(".")[2]: other for other in valid if other.rpartition(".")[0] == group}
    same = [other for other in valid if other.rpartition(".")[2] == name]
    if same and (not beside or name not in _OF_MANY):
        return _meant(same)
    if close := closest(name, [*beside, *([] if group else groups)]):
        return _meant([beside.get(close, close)])
    if (top := closest(key.split(".")[0], groups)) and key.split(".")[0] != top:
        return nearest_key(f"{top}.{key.partition('.')[2]}", valid) if "." in key else _meant([top])
    if close := closest(name, {other.rpartition(".")[2] for other in valid} - _OF_MANY):
        return _meant([other for other in valid if other.rpartition(".")[2] == close])
    if beside and group:
        return f"use one of: {', '.join(sorted(beside.values()))}"
    return f"the groups of settings are: {', '.join(groups)}"


def _meant(keys: Sequence[str]) -> str:
    return f"did you mean {' or '.join(repr(key) for key in keys[:3])}?"


def _got(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    shown = f"[{', '.join(map(_got, value))}]" if isinstance(value, list) else repr(value)
    return shown if len(shown) <= 80 else shown[:77] + "..."


def _explained(key: str, error: Any, valid: Sequence[str]) -> tuple[str, str]:
    kind, got, context = error["type"], error["input"], error.get("ctx", {})
    if kind == "extra_forbidden":
        return f"there is no setting '{key}'", nearest_key(key, valid)
    if kind == "missing":
        return f"{key} is missing", f"give it: {key}=VALUE"
    if kind == "value_error":
        # plmtrain's own validators name fields of their group; with the key's group users can find them.
        what, _, remedy = str(context.get("error", error["msg"])).partition(": ")
        return f"{key}: {what}" if key else what, remedy or "change one of them"
    if kind == "literal_error":
        options = [option.strip("'") for option in context["expected"].replace(" or ", ", ").split(", ")]
        listed = f"use one of: {', '.join(options)}"
        return f"{key} cannot be {_got(got)}", listed if is_something_else(str(got)) else nearest(str(got), options)
    if kind in _BOUNDS:
        name, words = _BOUNDS[kind]
        bound = f"{words} {number(context[name])}"
        return f"{key} must be {bound}, and is {_got(got)}", f"give {key} a value {bound}"
    if kind in ("string_too_long", "string_pattern_mismatch"):
        return f"{key} cannot be {_got(got)}", "use up to 64 letters, digits, '_', '-' and '.', a letter or digit first"
    if kind in ("too_short", "too_long"):
        return f"{key} has too few or too many values: {_got(got)}", error["msg"]
    base = kind
    for ending in ("_parsing_size", "_parsing", "_type", "_from_float"):
        base = base.removesuffix(ending)
    wanted = _KINDS.get(base, error["msg"].lower())
    if wanted == "a list" or wanted == "a set of keys" or wanted == "a group of settings":
        remedy = {
            "a list": f"write {key}=[...]",
            "a set of keys": f"write {key}={{KEY: VALUE}}",
            "a group of settings": f"set its keys: {key}.KEY=VALUE",
        }[wanted]
    else:
        remedy = f"give {key} {wanted}"
    return f"{key} must be {wanted}, and is {_got(got)}", remedy


def what_is_wrong(error: ValidationError, valid: Sequence[str], prefix: str = "") -> dict[str, tuple[str, str]]:
    """Return the errors of a validation by full key: what is wrong, and what to do."""
    wrong: dict[str, tuple[str, str]] = {}
    for problem in error.errors(include_url=False):
        key = (prefix + ".".join(str(part) for part in problem["loc"])).removesuffix(".")
        unknown = _leaves(key, problem["input"]) if problem["type"] == "extra_forbidden" else [key]
        for full in unknown:
            wrong.setdefault(full, _explained(full, problem, valid))
    return wrong


def _leaves(key: str, value: Any) -> list[str]:
    """Return the full keys below an unknown key, for each of which the nearest valid name is searched."""
    if not isinstance(value, dict) or not value:
        return [key]
    return [leaf for name, inner in value.items() for leaf in _leaves(f"{key}.{name}", inner)]
