"""The matrix of models and objectives against what really runs, and every recipe."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch
from support.every_pair import SHAPE, SHORT, Text, chosen, train

from plmtrain.commands.list import matrix
from plmtrain.settings.composing.compose import compose
from plmtrain.settings.composing.folders import choices, section

MATRIX = matrix(None)


def shape(model: str) -> str:
    """What is left of a model at the tiny size: bert and bert_large are one there, and need not both be tried."""
    rescaled = {"name", "head_width", *section("size", "tiny")["model"]}
    return json.dumps({key: value for key, value in section("model", model).items() if key not in rescaled}, sort_keys=True)


MODELS = list({shape(model): model for model in reversed(MATRIX)}.values())
ALLOWED = [(model, objective) for model in MODELS for objective, answer in MATRIX[model].items() if answer == "yes"]
TYPES = {model: section("model", model)["type"] for model in MODELS}
_WHY = {(model, objective): answer for model in MODELS for objective, answer in MATRIX[model].items() if answer != "yes"}
REFUSED = list(
    {
        **{objective: (model, objective) for model, objective in _WHY},
        **{(TYPES[model], answer): (model, objective) for (model, objective), answer in _WHY.items()},
    }.values()
)
"""Of the models of one type that are refused for the same reason, one; and each objective once."""


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Text:
    torch.set_num_threads(1)
    return Text(tmp_path_factory.mktemp("text"))


@pytest.mark.parametrize(("model", "objective"), ALLOWED)
def test_an_allowed_pair_trains(text: Text, model: str, objective: str) -> None:
    settings = train([*chosen(model, objective, MATRIX[model]), *SHAPE, *text.overrides(objective), *SHORT], steps=2)
    assert (settings.model.name, settings.objective.name) == (model, objective)


@pytest.mark.slow
def test_a_refused_pair_is_refused_with_the_reason_and_what_would_do(text: Text) -> None:
    """And before torch is imported."""
    asked = [[*chosen(model, objective, MATRIX[model]), *text.overrides(objective)] for model, objective in REFUSED]
    code = (
        "import json, sys\n"
        "from plmtrain.errors import SettingsErrors\n"
        "from plmtrain.settings.composing.compose import compose\n"
        "from plmtrain.settings.decode import pretrain_settings\n"
        "for overrides in json.load(sys.stdin):\n"
        "    try:\n"
        "        pretrain_settings(compose(overrides))\n"
        "        print(json.dumps(None))\n"
        "    except SettingsErrors as error:\n"
        "        print(json.dumps([(one.what, one.where, one.remedy) for one in error.errors]))\n"
        "assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], input=json.dumps(asked), capture_output=True, text=True, check=True)
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(told) == len(REFUSED)
    for (model, objective), errors in zip(REFUSED, told, strict=True):
        assert errors, f"{model} and {objective} are refused by the matrix alone"
        assert all(what and where and remedy for what, where, remedy in errors)
        if f"objective={objective} needs a backbone" in errors[0][0]:
            able = [name for name, answer in MATRIX[model].items() if answer == "yes" and name != "mixture"]
            assert all(name in errors[0][2] for name in able)


@pytest.mark.parametrize("experiment", choices("experiment"))
def test_a_recipe_trains_at_the_tiny_size(text: Text, experiment: str) -> None:
    """A step of each of its phases, at their own lengths; of GPT-3's sixteen, which differ in batch alone, two small ones."""
    short = ["trainer.phases=[{share:0.5,batch_size:2},{share:0.5,batch_size:3}]"] if experiment == "gpt3_125m" else []
    objective = compose([f"experiment={experiment}"]).values["objective"]["name"]
    short += ["teacher=large"] * ("distillation" in objective)
    settings = train([f"experiment={experiment}", *SHAPE, *text.overrides(objective), *short], steps=1)
    assert settings.objective.name == objective
