"""The values that a setting can have, in words: from the JSON schema that pydantic makes of its class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from plmtrain.settings.base import Settings

_ENDLESS = 10**15
"""A bound beyond this is a matter of the machine, and is not told."""

_NUMBERS = {"integer": "a whole number", "number": "a number"}
_NUMBER_OF = {2: "two", 3: "three"}


def values_of(settings: type[Settings]) -> dict[str, str]:
    """Return for each field of a settings class what it can be, such as ``a whole number above 0, or null``."""
    schema = settings.model_json_schema(mode="validation")
    shared = schema.get("$defs", {})
    fields: Mapping[str, Any] = schema.get("properties", {})
    return {
        name: listed(names) if (names := settings.names_of(name)) else _worded(field, shared) for name, field in fields.items()
    }


def _worded(schema: Mapping[str, Any], shared: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        return _worded(shared[schema["$ref"].rpartition("/")[2]], shared)
    if "anyOf" in schema:
        parts = [_worded(part, shared) for part in schema["anyOf"]]
        return ", or ".join(dict.fromkeys(parts))
    if "enum" in schema or "const" in schema:
        return listed([str(value) for value in schema.get("enum", [schema.get("const")])])
    kind = schema.get("type")
    if kind in _NUMBERS:
        return _NUMBERS[kind] + _bounds(schema)
    if kind == "boolean":
        return "true or false"
    if kind == "null":
        return "null"
    if kind == "array":
        return _list(schema, shared)
    if kind == "object":
        keys = schema.get("properties")
        return f"a set of keys: {', '.join(keys)}" if keys else "a set of keys"
    if kind == "string":
        return "a name" if "pattern" in schema else "text"
    return "any value"


def _list(schema: Mapping[str, Any], shared: Mapping[str, Any]) -> str:
    first = schema.get("prefixItems")
    if first:
        each = list(dict.fromkeys(_worded(item, shared) for item in first))
        return f"a list of {_NUMBER_OF.get(len(first), len(first))}: each {' or '.join(each)}"
    return f"a list, each {_worded(schema.get('items', {}), shared)}"


def _bounds(schema: Mapping[str, Any]) -> str:
    if (schema.get("minimum"), schema.get("maximum")) == (0, 1):
        return " from 0 to 1"
    words = []
    for key, word in (
        ("exclusiveMinimum", "above"),
        ("minimum", "at least"),
        ("exclusiveMaximum", "below"),
        ("maximum", "at most"),
    ):
        bound = schema.get(key)
        if bound is not None and abs(bound) < _ENDLESS:
            words.append(f"{word} {number(bound)}")
    if "multipleOf" in schema:
        words.append(f"a multiple of {schema['multipleOf']:g}")
    return f" {' and '.join(words)}" if words else ""


def number(bound: float) -> str:
    """Return a bound as it is written in words; whole numbers with all their digits."""
    return f"{bound:,.0f}" if bound == int(bound) else f"{bound:g}"


def listed(names: list[str]) -> str:
    """Join names in words: ``a, b or c``."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"
