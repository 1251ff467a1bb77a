"""Pretraining objectives: one module for each ``type`` of objective settings, with one Program in it."""

from __future__ import annotations

import importlib
from typing import Any

from plmtrain.programs.program import Program
from plmtrain.settings.models.base import ModelSettings
from plmtrain.settings.objectives.base import ObjectiveSettings
from plmtrain.text.vocabulary import Vocabulary


def build(settings: ObjectiveSettings, model: ModelSettings, vocabulary: Vocabulary) -> Program[Any]:
    """The program of some objective settings.

    Args:
        settings: ``settings.type`` names the module of this package that has it.
        model: the settings of the model that it trains.
        vocabulary: the tokens that rows are made of.

    Raises:
        SettingsError: if the vocabulary lacks a special token that the objective needs.
    """
    module = importlib.import_module(f"{__name__}.{settings.type}")
    (program,) = (
        found
        for found in vars(module).values()
        if isinstance(found, type) and issubclass(found, Program) and found.__module__ == module.__name__
    )
    return program.of(settings, model, vocabulary, lambda inner: build(inner, model, vocabulary))
