"""``--cfg job``: the settings of a run as YAML; each that is not a shipped default has its origin in a comment.

Secrets are masked, as in a run's own ``config.yaml``: what is printed is shown to others when something does not work.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from plmtrain.redaction import redact, redact_text
from plmtrain.runs.command_settings import composed_for, kind_for
from plmtrain.settings.composing.arguments import Arguments
from plmtrain.settings.composing.compose import Composed
from plmtrain.settings.decode import judge, run_settings
from plmtrain.settings.kinds import RunKind


def _scalar(value: Any) -> str:
    """Write a value as YAML on one line; JSON is YAML."""
    if (
        isinstance(value, str)
        and value
        and value.replace("_", "").replace("-", "").replace("/", "").isalnum()
        and not value[0].isdigit()
    ):
        plain = value.lower() not in ("null", "true", "false", "yes", "no", "on", "off", "y", "n") and not value.startswith("-")
        return value if plain else json.dumps(value)
    if isinstance(value, float):
        text = repr(value)
        return text if "e" not in text or "." in text else text.replace("e", ".0e")
    return json.dumps(value, ensure_ascii=False)


def _lines(values: dict[str, Any], composed: Composed, key: str = "", indent: str = "") -> Iterator[str]:
    for name, value in values.items():
        full = f"{key}.{name}" if key else name
        if isinstance(value, dict) and value:
            yield f"{indent}{name}:"
            yield from _lines(value, composed, full, indent + "  ")
        else:
            line = f"{indent}{name}: {_scalar(value)}"
            origin = redact_text(re.sub(r" \(.*\)$", "", composed.origin(full)))
            yield line if origin.startswith("setting:") else f"{line:<44} # {origin.removeprefix('file: ')}"


def run(verb: str, options: Arguments) -> int:
    """Print the checked settings of the run that a verb would start, without starting it."""
    composed, kind = composed_for(verb, options.overrides, options.config_dir), kind_for(verb, options.overrides)
    values, lines = _checked(composed, kind)
    print("\n".join([*lines, *_lines(redact(values), composed)]))
    return 0


def _checked(composed: Composed, kind: RunKind[Any]) -> tuple[dict[str, Any], list[str]]:
    """Return checked settings and comments on them: they are printed, too, where the run only lacks its files."""
    data = composed.values.get("data")
    if judge(composed, kind).settings is None and isinstance(data, dict) and not data.get("files"):
        named = replace(composed, values={**composed.values, "data": {**data, "files": ["any"]}})
        if (settings := judge(named, kind).settings) is not None:
            values: dict[str, Any] = settings.model_dump(mode="json")
            return {**values, "data": {**values["data"], "files": []}}, ["# The run needs data.files, too."]
    return run_settings(composed, kind).model_dump(mode="json"), []
