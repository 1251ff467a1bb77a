"""Every objective says which of its settings decide the parameters: all others may change within a run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

import pytest
import torch
from pydantic import ValidationError

from plmtrain import backbones, objectives
from plmtrain.commands.list import matrix
from plmtrain.settings.composing.compose import compose
from plmtrain.settings.composing.folders import choices
from plmtrain.settings.decode import pretrain_settings
from plmtrain.settings.objectives.base import ObjectiveSettings
from plmtrain.text.vocabulary import Vocabulary

VOCABULARY = Vocabulary(64, {"pad": 0, "unk": 1, "cls": 2, "sep": 3, "mask": 4}, (0, 1, 2, 3, 4))
MATRIX = matrix(None)


def others(settings: ObjectiveSettings, name: str) -> Iterator[Any]:
    """Other values that a setting might have; not all of them are sound."""
    value = getattr(settings, name)
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, int | float):
        yield from (value + 1, value * 2, value / 2, 0.05, 1)
    elif isinstance(value, str):
        for member in get_args(type(settings).model_fields[name].annotation):
            yield from get_args(member) or [member]
        yield (0,)
    elif value is None:
        yield from (1, 3, 0.5, {})


PARALLEL = ("tlm", "multilingual_mlm", "multilingual_clm", "multilingual_mass", "multilingual_bart")
"""The objectives that read parallel text."""


def shapes(settings: ObjectiveSettings, overrides: list[str]) -> dict[str, torch.Size]:
    model = pretrain_settings(compose(overrides)).model
    program = objectives.build(settings, model, VOCABULARY)
    with torch.device("meta"):
        learner = program.build(lambda model: backbones.build(model, VOCABULARY.size))
    return {name: tensor.shape for name, tensor in learner.state_dict().items()}


def sound(settings: ObjectiveSettings, name: str, value: Any) -> ObjectiveSettings | None:
    """The settings with another value of one of them; None where it is their own, or refused."""
    try:
        changed = settings.changed({name: value})
    except ValidationError:
        return None
    return changed if getattr(changed, name) != getattr(settings, name) else None


WITHOUT_A_MEANING = {("dropped_tokens", "closing_sentinel"), ("distillation", "token_head")}
"""Settings that an objective refuses to change alone: tokens are dropped without sentinels, and two weights train the head."""


@pytest.mark.parametrize("objective", [name for name in choices("objective") if name != "mixture"])
def test_settings_that_decide_parameters_are_declared(objective: str) -> None:
    model = next(model for model in ("bert", *MATRIX) if MATRIX[model][objective] == "yes")
    data = ["data=parallel", "data.files=[x.tsv]", "data.languages=[en,de]"] if objective in PARALLEL else []
    taught = ["teacher=large"] if "distillation" in objective else []
    overrides = [f"model={model}", f"objective={objective}", "size=tiny", *data, *taught]
    settings = pretrain_settings(compose(overrides)).objective
    usual, decides = shapes(settings, overrides), set()
    for name in type(settings).model_fields.keys() - {"type", "name"}:
        tried = [changed for value in others(settings, name) if (changed := sound(settings, name, value)) is not None]
        assert tried or (objective, name) in WITHOUT_A_MEANING, f"{name} was not tried with another value"
        if any(shapes(changed, overrides) != usual for changed in tried):
            decides.add(name)
    # How many heads share an attention's width is built in, too, and seen in no shape; without a head, two weights are 0 as well.
    assert decides <= settings.decides_parameters
    assert settings.decides_parameters <= decides | {"generator_head_width", "token_head"}
