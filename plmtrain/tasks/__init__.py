"""Fine-tuning tasks: one module for each ``type`` of task settings, with a Program in it for each kind of its answers."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Set
from typing import TYPE_CHECKING

from plmtrain.programs.task import AnyTask, TaskProgram
from plmtrain.settings.models.base import ModelSettings
from plmtrain.settings.tasks.base import TaskSettings
from plmtrain.text.vocabulary import Vocabulary

if TYPE_CHECKING:
    from torch import nn


def build(settings: TaskSettings, model: ModelSettings, vocabulary: Vocabulary, sequence_length: int) -> AnyTask:
    """Make the program of some task settings.

    Args:
        settings: ``settings.type`` names the module of this package that has it.
        model: the settings of the model that it trains.
        vocabulary: the tokens that rows are made of.
        sequence_length: tokens of a row, special ones included; longer texts are cut.

    Raises:
        SettingsError: if the vocabulary lacks a special token that the task needs.
    """
    (program,) = (program for program in _programs(settings.type) if program.is_for(settings))
    make: Callable[..., AnyTask] = program  # tasks take a sequence length besides
    return make(settings, model, vocabulary, sequence_length)


def of_heads(heads: Set[type[nn.Module]], labels: tuple[str, ...]) -> TaskSettings | None:
    """Return task settings for a published model with these heads; None if it is not a model of any task.

    Args:
        heads: the types of the model's heads.
        labels: the classes of its classifier.
    """
    programs = (program for module in pkgutil.iter_modules(__path__) for program in _programs(module.name))
    return next((settings for program in programs if (settings := program.of_heads(heads, labels)) is not None), None)


def _programs(name: str) -> list[type[AnyTask]]:
    module = importlib.import_module(f"{__name__}.{name}")
    return [
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, TaskProgram)
        and value.__module__ == module.__name__
        and not inspect.isabstract(value)
    ]
