"""What a YAML file says of its own group, read without Hydra: for lists and remedies, which must be quick."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from plmtrain.settings.composing.folders import find_choice


def section(group: str, choice: str, config_dir: str | Path | None = None) -> dict[str, Any]:
    """What a choice sets in its group, with what the choices that it begins from set; empty where there is no such choice.

    Args:
        group: of settings.
        choice: the name of one of its files.
        config_dir: the folder of ``--config-dir``.
    """
    import yaml  # type: ignore[import-untyped]

    file = find_choice(group, choice, config_dir)
    values = yaml.safe_load(file.read_text(encoding="utf-8")) if file is not None else None
    if not isinstance(values, dict):
        return {}
    below: dict[str, Any] = {}
    for entry in values.get("defaults", []):
        if isinstance(entry, str) and entry not in ("_self_", choice):
            below |= section(group, entry, config_dir)
    own = values.get(group, values)
    own = {key: value for key, value in own.items() if key != "defaults"} if isinstance(own, dict) else {}
    return below | own
