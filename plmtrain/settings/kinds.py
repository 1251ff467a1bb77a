"""The kinds of runs: the YAML file that each begins with, and the settings classes that its groups can have."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import BaseModel

from plmtrain.settings.base import Settings
from plmtrain.settings.lookup import model_classes, objective_classes, scoring_classes, task_classes
from plmtrain.settings.models.base import ModelSettings
from plmtrain.settings.objectives.base import ObjectiveSettings
from plmtrain.settings.run import EvaluationSettings, FinetuneSettings, PretrainSettings
from plmtrain.settings.scoring.base import ScoringSettings
from plmtrain.settings.tasks.base import TaskSettings

Classes = Mapping[str, type[Settings]]
RunT = TypeVar("RunT", bound=Settings)


@dataclass(frozen=True)
class RunKind(Generic[RunT]):
    """A kind of run.

    Args:
        primary: the YAML file that its composition begins with, which is also the name of its verb.
        settings: the class of its settings.
        variants: the groups whose ``type`` names a settings class: the base of those classes, and all of them.
    """

    primary: str
    settings: type[RunT]
    variants: Mapping[str, tuple[type[Settings], Callable[[], Classes]]]


PRETRAIN = RunKind(
    "pretrain", PretrainSettings, {"model": (ModelSettings, model_classes), "objective": (ObjectiveSettings, objective_classes)}
)
FINETUNE = RunKind("finetune", FinetuneSettings, {"model": (ModelSettings, model_classes), "task": (TaskSettings, task_classes)})
KINDS: tuple[RunKind[Any], ...] = (PRETRAIN, FINETUNE)

EVALUATE = RunKind("evaluate", EvaluationSettings, {"scoring": (ScoringSettings, scoring_classes)})
"""No run of its own: the settings of ``plmtrain evaluate`` besides those of the run that it evaluates."""

COMPOSITIONS: tuple[RunKind[Any], ...] = (*KINDS, EVALUATE)
"""Everything that is composed from the YAML files."""


def keys_of(settings: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Yield the full keys of a settings class, including those of its groups."""
    for name, info in settings.model_fields.items():
        annotation = info.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield from keys_of(annotation, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"
