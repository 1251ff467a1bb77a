"""``plmtrain list``: what there is to choose from, and which objective goes with which model. No torch, no Hydra."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]
from rich.console import Console
from rich.table import Table

from plmtrain.errors import SettingsError, nearest
from plmtrain.settings.arguments import split
from plmtrain.settings.folders import GROUPS, choices, find


def _about(file: Path) -> str:
    """The comment that a file begins with: its description."""
    words = []
    for line in file.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        if "@package" not in line:
            words.append(line.lstrip("# "))
    return " ".join(words)


def _section(group: str, choice: str, config_dir: str | None) -> dict[str, Any]:
    """What a choice sets in its group, with what the choices that it begins from set."""
    file = find(group, choice, config_dir)
    values = yaml.safe_load(file.read_text(encoding="utf-8")) if file is not None else None
    if not isinstance(values, dict):
        return {}
    below: dict[str, Any] = {}
    for entry in values.get("defaults", []):
        if isinstance(entry, str) and entry not in ("_self_", choice):
            below |= _section(group, entry, config_dir)
    own = values.get(group, values)
    return below | (own if isinstance(own, dict) else {})


def groups(wanted: list[str], config_dir: str | None) -> dict[str, dict[str, str]]:
    """For each group, its choices with a line about each."""
    return {
        group: {choice: _about(file) for choice in choices(group, config_dir) if (file := find(group, choice, config_dir))}
        for group in wanted
    }


def matrix(config_dir: str | None) -> dict[str, dict[str, str]]:
    """For each model, whether each objective trains it: ``yes``, or why not."""
    from plmtrain.settings.lookup import model_classes, objective_classes

    table: dict[str, dict[str, str]] = {}
    for model in choices("model", config_dir):
        kind = model_classes()[_type("model", model, config_dir)].kind
        table[model] = {}
        for objective in choices("objective", config_dir):
            backbones = objective_classes()[_type("objective", objective, config_dir)].backbones
            table[model][objective] = "yes" if kind in backbones else f"needs {' or '.join(sorted(backbones))}"
    return table


def _type(group: str, choice: str, config_dir: str | None) -> str:
    from plmtrain.settings.lookup import model_classes, objective_classes

    name = _section(group, choice, config_dir).get("type")
    classes = model_classes() if group == "model" else objective_classes()
    if name not in classes:
        raise SettingsError(f"there is no type of {group} '{name}'", f"{group}={choice}", nearest(str(name), classes))
    return str(name)


def _print(lines: dict[str, dict[str, str]]) -> None:
    """Names and their descriptions, wrapped on a terminal and a line each elsewhere, so that grep finds whole entries."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    column = 2 + max((len(choice) for members in lines.values() for choice in members), default=0)
    for group, members in lines.items():
        print(f"{group}=...")
        for choice, about in members.items():
            text = f"  {choice:<{column}}{about}"
            print(text if width is None else textwrap.fill(text, max(width, column + 20), subsequent_indent=" " * (column + 2)))
        print()


def run(arguments: list[str]) -> int:
    """List one group, all of them, or the matrix; ``--json`` for programs."""
    options = split([word for word in arguments if word != "--json"])
    valid = (*GROUPS, "matrix")
    # `list models` is what one says in English.
    wanted = [name if name in valid else name.removesuffix("s") for name in options.overrides]
    for name in wanted:
        if name not in valid:
            raise SettingsError(f"there is no group '{name}'", f"plmtrain list {name}", nearest(name, valid))
    found = matrix(options.config_dir) if "matrix" in wanted else groups(wanted or list(GROUPS), options.config_dir)
    if "--json" in arguments:
        print(json.dumps(found))
    elif "matrix" in wanted:
        table = Table("model", *next(iter(found.values())), title="which objective goes with which model", title_justify="left")
        for model, row in found.items():
            table.add_row(model, *row.values())
        console = Console()
        # Cut columns help nobody: where no terminal sets the width, the table takes what it needs.
        (console if console.is_terminal else Console(width=1000)).print(table)
    else:
        _print(found)
    return 0
