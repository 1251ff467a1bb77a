"""Pretraining objectives: one module for each ``type`` of objective settings, with one Program (or Mixture) in it."""

from __future__ import annotations

import importlib

from plmtrain.programs.program import AnyProgram, Program, Trainable
from plmtrain.settings.models.base import ModelSettings
from plmtrain.settings.objectives.base import ObjectiveSettings
from plmtrain.text.vocabulary import Vocabulary


def build(settings: ObjectiveSettings, model: ModelSettings, vocabulary: Vocabulary) -> Trainable:
    """Make the program, or the mixture of programs, of some objective settings.

    Args:
        settings: ``settings.type`` names the module of this package that has it.
        model: the settings of the model that it trains.
        vocabulary: the tokens that rows are made of.

    Raises:
        SettingsError: if the vocabulary lacks a special token that the objective needs.
    """
    module = importlib.import_module(f"{__name__}.{settings.type}")
    (program,) = (
        member
        for member in vars(module).values()
        if isinstance(member, type) and issubclass(member, Trainable) and member.__module__ == module.__name__
    )

    def build_program(inner: ObjectiveSettings) -> AnyProgram:
        made = build(inner, model, vocabulary)
        assert isinstance(made, Program), "a mixture is made of programs"
        return made

    return program.of(settings, model, vocabulary, build_program)
