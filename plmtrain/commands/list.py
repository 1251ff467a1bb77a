"""``plmtrain list``: the choices of each group, and which objective goes with which model. No torch, no Hydra."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from rich.table import Table

from plmtrain.console import QuietConsole, print_json
from plmtrain.errors import SettingsError, SettingsErrors, nearest
from plmtrain.files import read_text
from plmtrain.settings.composing.arguments import parse_arguments
from plmtrain.settings.composing.folders import GROUPS, choices, find_choice, section

if TYPE_CHECKING:
    from plmtrain.settings.base import Settings
    from plmtrain.settings.models.base import ModelSettings
    from plmtrain.settings.objectives.base import ObjectiveSettings

SettingsT = TypeVar("SettingsT", bound="Settings")


def _about(file: Path) -> str:
    """Return the comment at the beginning of a file: its description."""
    lines_of_comment = []
    for line in read_text(file).splitlines():
        if not line.startswith("#"):
            break
        if "@package" not in line:
            lines_of_comment.append(line.lstrip("# "))
    return " ".join(lines_of_comment)


def groups(wanted: list[str], config_dir: str | None) -> dict[str, dict[str, str]]:
    """Return for each group its choices with a line about each."""
    return {
        group: {choice: _about(file) for choice in choices(group, config_dir) if (file := find_choice(group, choice, config_dir))}
        for group in wanted
    }


def matrix(config_dir: str | None) -> dict[str, dict[str, str]]:
    """Return for each model whether each objective trains it: ``yes``, or the reason why not, by the rules of a run."""
    from plmtrain.settings.rules import broken_rules
    from plmtrain.settings.tokenizer import TokenizerSettings

    objectives = {choice: _objective(choice, config_dir) for choice in choices("objective", config_dir)}
    table: dict[str, dict[str, str]] = {}
    for name in choices("model", config_dir):
        suggested = section("model", name, config_dir).get("suggests", {}).get("tokenizer", {})
        tokenizer = TokenizerSettings.model_validate({"type": "wordpiece", "family": "bert", "vocab_size": 1000, **suggested})
        model = _model(name, config_dir)
        row: dict[str, str] = {}
        for choice, objective in objectives.items():
            if objective is None:
                continue
            wrong = next(broken_rules({"model": model, "objective": objective, "tokenizer": tokenizer}), None)
            if model.kind not in objective.backbones:
                row[choice] = f"needs {' or '.join(sorted(objective.backbones))}"
            else:
                row[choice] = "yes" if wrong is None else wrong[1]
        parts = [choice for choice, answer in row.items() if answer == "yes" and _may_be_a_part(objectives[choice])]
        combined = "yes" if parts else f"nothing that trains {name} can be a part"
        table[name] = {choice: combined if objective is None else row[choice] for choice, objective in objectives.items()}
    return table


def _may_be_a_part(objective: ObjectiveSettings | None) -> bool:
    return objective is not None and objective.reads != "streams"


def _model(choice: str, config_dir: str | None) -> ModelSettings:
    from plmtrain.settings.lookup import model_classes

    values = {key: value for key, value in section("model", choice, config_dir).items() if key != "suggests"}
    return _decoded("model", choice, values, model_classes())


def _objective(choice: str, config_dir: str | None) -> ObjectiveSettings | None:
    """Return the settings of an objective; None if it combines others."""
    from plmtrain.settings.lookup import objective_classes

    values, classes = section("objective", choice, config_dir), objective_classes()
    kind = classes.get(str(values.get("type")))
    return None if kind is not None and kind.is_combined else _decoded("objective", choice, values, classes)


def _decoded(group: str, choice: str, values: dict[str, Any], classes: Mapping[str, type[SettingsT]]) -> SettingsT:
    from pydantic import ValidationError

    from plmtrain.settings.wording import what_is_wrong

    # A value that refers to another group of settings is left at its default: no run provides that group here.
    values = {key: value for key, value in values.items() if not (isinstance(value, str) and "${" in value)}
    kind = str(values.get("type"))
    if kind not in classes:
        raise SettingsError(f"there is no type of {group} '{kind}'", f"{group}={choice}", nearest(kind, classes))
    try:
        return classes[kind].model_validate(values)
    except ValidationError as error:
        valid = [f"{group}.{key}" for key in classes[kind].model_fields]
        problems = what_is_wrong(error, valid, f"{group}.").values()
        raise SettingsErrors(SettingsError(what, f"{group}={choice}", remedy) for what, remedy in problems) from None


def _print(lines: dict[str, dict[str, str]]) -> None:
    """Print names and their descriptions, wrapped on a terminal and one line each elsewhere, so that grep finds whole entries."""
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
    options = parse_arguments([word for word in arguments if word != "--json"])
    valid = (*GROUPS, "matrix")
    # Users also write the plural, as in `list models`.
    wanted = [name if name in valid else name.removesuffix("s") for name in options.overrides]
    for name in wanted:
        if name not in valid:
            raise SettingsError(f"there is no group '{name}'", f"plmtrain list {name}", nearest(name, valid))
    listing = matrix(options.config_dir) if "matrix" in wanted else groups(wanted or list(GROUPS), options.config_dir)
    if "--json" in arguments:
        print_json(listing)
    elif "matrix" in wanted:
        table = Table("model", *next(iter(listing.values())), title="which objective goes with which model", title_justify="left")
        for model, row in listing.items():
            table.add_row(model, *row.values())
        console = QuietConsole()
        # Truncated columns are useless: where no terminal sets the width, the table takes what it needs.
        (console if console.is_terminal else QuietConsole(width=1000)).print(table)
    else:
        _print(listing)
    return 0
