"""The settings class of the ``type`` in a YAML file: looked up among the package's own modules, never imported from outside."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from typing import TypeVar

from plmtrain.settings.base import Settings
from plmtrain.settings.models.base import ModelSettings
from plmtrain.settings.objectives.base import ObjectiveSettings
from plmtrain.settings.scoring.base import ScoringSettings
from plmtrain.settings.tasks.base import TaskSettings

T = TypeVar("T", bound=Settings)


def _types(package: str) -> list[str]:
    path = importlib.import_module(package).__path__
    return sorted(module.name for module in pkgutil.iter_modules(path) if module.name != "base")


def _one_class(package: str, name: str, base: type[T]) -> type[T]:
    module = importlib.import_module(f"{package}.{name}")
    classes = [
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, base)
        and value.__module__ == module.__name__
        and "type" in value.model_fields
    ]
    assert len(classes) == 1, f"{module.__name__} must define one settings class"
    return classes[0]


@cache
def model_classes() -> dict[str, type[ModelSettings]]:
    """Return the settings class of each type of model."""
    package = "plmtrain.settings.models"
    return {name: _one_class(package, name, ModelSettings) for name in _types(package)}


@cache
def objective_classes() -> dict[str, type[ObjectiveSettings]]:
    """Return the settings class of each type of objective."""
    package = "plmtrain.settings.objectives"
    return {name: _one_class(package, name, ObjectiveSettings) for name in _types(package)}


@cache
def task_classes() -> dict[str, type[TaskSettings]]:
    """Return the settings class of each type of task."""
    package = "plmtrain.settings.tasks"
    return {name: _one_class(package, name, TaskSettings) for name in _types(package)}


@cache
def scoring_classes() -> dict[str, type[ScoringSettings]]:
    """Return the settings class of each type of scoring."""
    package = "plmtrain.settings.scoring"
    return {name: _one_class(package, name, ScoringSettings) for name in _types(package)}
