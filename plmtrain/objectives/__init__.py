"""Pretraining objectives: one module for each ``type`` of objective settings, containing one Program (or Mixture), or one for
each kind of backbone."""

from __future__ import annotations

import importlib

from plmtrain.programs.program import AnyProgram, Program, Trainable
from plmtrain.settings.models.base import ModelSettings
from plmtrain.settings.objectives.base import ObjectiveSettings
from plmtrain.text.vocabulary import Vocabulary


def build(settings: ObjectiveSettings, model: ModelSettings, vocabulary: Vocabulary) -> Trainable:
    """Make the program, or the mixture of programs, that objective settings describe.

    Args:
        settings: ``settings.type`` names the module of this package.
        model: the settings of the model to train.
        vocabulary: the vocabulary of the rows.

    Raises:
        SettingsError: if the vocabulary lacks a special token that the objective needs.
    """
    module = importlib.import_module(f"{__name__}.{settings.type}")
    (program,) = (
        member
        for member in vars(module).values()
        if isinstance(member, type) and issubclass(member, Trainable) and member.__module__ == module.__name__
        if member.kinds is None or model.kind in member.kinds
    )

    def build_program(inner: ObjectiveSettings) -> AnyProgram:
        made = build(inner, model, vocabulary)
        assert isinstance(made, Program), "the parts of a mixture are programs"
        return made

    return program.of(settings, model, vocabulary, build_program)
