"""The choices of each group, what a word explains, and the matrix of models and objectives. No torch, no Hydra."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from plmtrain.console import print_json
from plmtrain.errors import SettingsError, SettingsErrors, nearest
from plmtrain.settings.composing.arguments import parse_arguments
from plmtrain.settings.composing.comments import about
from plmtrain.settings.composing.folders import GROUPS, choices, find_choice, section

if TYPE_CHECKING:
    from plmtrain.settings.base import Settings
    from plmtrain.settings.models.base import ModelSettings
    from plmtrain.settings.objectives.base import ObjectiveSettings

SettingsT = TypeVar("SettingsT", bound="Settings")

_PAGE = 80
"""Columns of wrapped text where no terminal sets them."""


def groups(wanted: list[str], config_dir: str | None) -> dict[str, dict[str, str]]:
    """Return for each group its choices with a line about each."""
    return {
        group: {choice: about(file) for choice in choices(group, config_dir) if (file := find_choice(group, choice, config_dir))}
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
            if model.kind not in objective.backbones:  # the rule says the same, and reads every objective for its remedy
                row[choice] = f"needs {' or '.join(sorted(objective.backbones))}"
                continue
            wrong = next(broken_rules({"model": model, "objective": objective, "tokenizer": tokenizer}), None)
            row[choice] = "yes" if wrong is None else wrong[1]
        parts = [choice for choice, answer in row.items() if answer == "yes" and _may_be_a_part(objectives[choice])]
        combined = "yes" if parts else "nothing that trains it can be a part"
        table[name] = {choice: combined if objective is None else row[choice] for choice, objective in objectives.items()}
    return table


def _may_be_a_part(objective: ObjectiveSettings | None) -> bool:
    return objective is not None and objective.reads not in ("streams", "two_way_streams")


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


def matrix_text(table: Mapping[str, Mapping[str, str]], config_dir: str | None, width: int) -> str:
    """Write the matrix as one paragraph for the models that the same objectives train, a family a line: so a page of any width
    holds it, however many there are."""
    alike: dict[tuple[tuple[str, str], ...], dict[str, list[str]]] = {}
    for name, row in table.items():
        answers = tuple(
            (objective, answer.removeprefix(f"objective={objective} ").replace(f"model={name}", "the model"))
            for objective, answer in row.items()
        )
        alike.setdefault(answers, {}).setdefault(_model(name, config_dir).family, []).append(name)
    paragraphs = []
    for answers, families in alike.items():
        by_answer: dict[str, list[str]] = {}
        for objective, answer in answers:
            by_answer.setdefault(answer, []).append(objective)
        trained = by_answer.pop("yes", [])
        lines = [_filled(", ".join(models), width) for models in families.values()]
        lines.append(_filled(f"  trained by: {', '.join(trained) or 'no objective'}", width))
        lines += [_filled(f"  not by {', '.join(names)}: {reason}", width) for reason, names in by_answer.items()]
        paragraphs.append("\n".join(lines))
    return "\n\n".join(["which objective trains which model; a line of models is a family", *paragraphs])


def _filled(text: str, width: int) -> str:
    indent = " " * (4 + len(text) - len(text.lstrip()))
    return textwrap.fill(text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def _choices_text(group: str, members: Mapping[str, str], width: int | None) -> str:
    """Write the choices of a group, wrapped on a terminal and one line each elsewhere, so that grep finds whole entries."""
    column = 2 + max(map(len, members), default=0)
    lines = [f"{group}=..."]
    for choice, description in members.items():
        text = f"  {choice:<{column}}{description}"
        lines.append(
            text if width is None else textwrap.fill(text, max(width, column + 20), subsequent_indent=" " * (column + 2))
        )
    return "\n".join(lines)


_MORE = """plmtrain list GROUP explains the settings of a group (also launch, resume, run), plmtrain list KEY one setting,
plmtrain list GROUP=CHOICE what a choice sets, plmtrain list matrix which objective trains which model"""


def _told(word: str, config_dir: str | None) -> tuple[dict[str, Any], str]:
    """Return what a word names, as plain values and as text.

    Raises:
        SettingsError: if it names nothing.
    """
    terminal = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    width = terminal or _PAGE
    if word == "matrix":
        table = matrix(config_dir)
        return table, matrix_text(table, config_dir, width)

    from plmtrain.commands.list import explanations
    from plmtrain.settings import explained

    if "=" in word:
        return explanations.choice(word, config_dir, width)
    # Users also write the plural, as in `list models`.
    known = {*GROUPS, *explained.groups()}
    if (group := next((name for name in (word, word.removesuffix("s")) if name in known), None)) is None:
        return explanations.key(word, config_dir, width)
    settings, text = explanations.group(group, config_dir, width)
    if group not in GROUPS:
        return settings, text
    listed = groups([group], config_dir)
    return listed, "\n\n".join(filter(None, [_choices_text(group, listed[group], terminal), text]))


def run(arguments: list[str]) -> int:
    """List every group's choices, or explain what each word names; ``--json`` for programs."""
    options = parse_arguments([word for word in arguments if word != "--json"])
    if options.overrides:
        told = [_told(word, options.config_dir) for word in options.overrides]
        values = {name: value for each, _ in told for name, value in each.items()}
        text = "\n\n".join(text for _, text in told)
    else:
        values = groups(list(GROUPS), options.config_dir)
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        text = "\n\n".join([*(_choices_text(group, members, width) for group, members in values.items()), _MORE])
    print_json(values) if "--json" in arguments else print(text)
    return 0
