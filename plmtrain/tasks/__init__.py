"""Fine-tuning tasks: one module for each ``type`` of task settings, with one Program in it."""

from __future__ import annotations

import importlib
from collections.abc import Callable

from plmtrain.programs.program import AnyProgram, Program
from plmtrain.settings.models.base import ModelSettings
from plmtrain.settings.tasks.base import TaskSettings
from plmtrain.text.vocabulary import Vocabulary


def build(settings: TaskSettings, model: ModelSettings, vocabulary: Vocabulary, sequence_length: int) -> AnyProgram:
    """The program of some task settings.

    Args:
        settings: ``settings.type`` names the module of this package that has it.
        model: the settings of the model that it trains.
        vocabulary: the tokens that rows are made of.
        sequence_length: tokens of a row, special ones included; longer texts are cut.

    Raises:
        SettingsError: if the vocabulary lacks a special token that the task needs.
    """
    module = importlib.import_module(f"{__name__}.{settings.type}")
    (program,) = (
        member
        for member in vars(module).values()
        if isinstance(member, type) and issubclass(member, Program) and member.__module__ == module.__name__
    )
    make: Callable[..., AnyProgram] = program  # tasks take a sequence length besides what every program takes
    return make(settings, model, vocabulary, sequence_length)
