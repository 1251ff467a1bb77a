"""The settings class of the ``type`` in a YAML file: looked up among the package's own modules, never imported from outside."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from functools import cache
from typing import TypeVar

from plmtrain.settings.base import Settings
from plmtrain.settings.models.base import ModelSettings
from plmtrain.settings.objectives.base import ObjectiveSettings
from plmtrain.settings.scoring.base import ScoringSettings
from plmtrain.settings.tasks.base import TaskSettings

T = TypeVar("T", bound=Settings)


class _ByType(Mapping[str, type[T]]):
    """The settings classes of a package's modules by type. Each is imported when it is first used: a run uses one of dozens."""

    def __init__(self, package: str, base: type[T]) -> None:
        self._package, self._base = package, base
        path = importlib.import_module(package).__path__
        self._types = sorted(module.name for module in pkgutil.iter_modules(path) if module.name != "base")
        self._classes: dict[str, type[T]] = {}

    def __getitem__(self, name: str) -> type[T]:
        if name not in self._types:
            raise KeyError(name)
        if name not in self._classes:
            self._classes[name] = _one_class(self._package, name, self._base)
        return self._classes[name]

    def __contains__(self, name: object) -> bool:
        return name in self._types

    def __iter__(self) -> Iterator[str]:
        return iter(self._types)

    def __len__(self) -> int:
        return len(self._types)


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
def model_classes() -> Mapping[str, type[ModelSettings]]:
    """Return the settings class of each type of model."""
    return _ByType("plmtrain.settings.models", ModelSettings)


@cache
def objective_classes() -> Mapping[str, type[ObjectiveSettings]]:
    """Return the settings class of each type of objective."""
    return _ByType("plmtrain.settings.objectives", ObjectiveSettings)


@cache
def task_classes() -> Mapping[str, type[TaskSettings]]:
    """Return the settings class of each type of task."""
    return _ByType("plmtrain.settings.tasks", TaskSettings)


@cache
def scoring_classes() -> Mapping[str, type[ScoringSettings]]:
    """Return the settings class of each type of scoring."""
    return _ByType("plmtrain.settings.scoring", ScoringSettings)
