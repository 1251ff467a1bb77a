"""Frozen parts of a model: not one bit of them changes, everything else trains, in one process or two, and across a resume."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support.tiny_run import TinyRun, in_child, in_group

from plmtrain.errors import SettingsError, SettingsErrors
from plmtrain.programs.learner import Learner
from plmtrain.runs.lifecycle import changes
from plmtrain.settings.composing.compose import compose
from plmtrain.settings.decode import pretrain_settings
from plmtrain.training.freezing import freeze, parameters_in_words

FREEZE = "trainer.freeze=[embeddings,layer.0]"
FROZEN = ("backbone.embeddings.", "backbone.layers.0.")


def fresh(run: TinyRun) -> Learner:
    """The run's learner before its first step."""
    return run.trainer().state.learner


def assert_only_the_rest_changed(run: TinyRun, before: dict[str, torch.Tensor]) -> None:
    after = run.checkpoint.load("model")
    assert before.keys() == after.keys()
    for name, tensor in before.items():
        assert torch.equal(tensor, after[name]) == name.startswith(FROZEN), name
    assert not any(name.startswith(FROZEN) for name in run.checkpoint.load("optimizer"))


def test_frozen_parts_stay_bit_for_bit_across_a_kill(tmp_path: Path) -> None:
    whole, killed = TinyRun(tmp_path / "whole", (FREEZE,)), TinyRun(tmp_path / "killed", (FREEZE,))
    before = {name: tensor.clone() for name, tensor in fresh(whole).state_dict().items()}
    assert in_child(whole.go) == 0
    assert in_child(killed.go, "optim.before_step@6") != 0
    assert in_child(killed.go) == 0
    assert killed.digest() == whole.digest()
    assert_only_the_rest_changed(whole, before)


def test_two_processes_train_with_frozen_parts(tmp_path: Path) -> None:
    run = TinyRun(tmp_path / "run", (FREEZE,))
    before = {name: tensor.clone() for name, tensor in fresh(run).state_dict().items()}
    assert in_group(run.go, 2) == [0, 0]
    assert_only_the_rest_changed(run, before)


@pytest.mark.parametrize(
    ("model", "name", "inside"),
    [
        ("model=bart objective=bart model.layers=1", "layer.1", {"decoder.layers.0"}),
        ("model=bart objective=bart model.layers=1", "embeddings", {"token", "encoder.embeddings", "decoder.embeddings"}),
        ("model=xlnet objective=plm model.layers=2", "layer.0..1", {"layers.0", "layers.1"}),
        ("model=albert objective=mlm model.layers=3", "layer.0", {"layers.0"}),
    ],
)
def test_names_of_parts_in_every_kind_of_model(tmp_path: Path, model: str, name: str, inside: set[str]) -> None:
    shape = "model.width=16 model.heads=2 model.feed_forward=32 model.positions=32".split()
    learner = TinyRun(tmp_path / "run", (), [*model.split(), *shape]).trainer().state.learner
    freeze(learner, [name])
    frozen = {path for path, weight in learner.backbone.named_parameters() if not weight.requires_grad}
    assert frozen == {
        path for path, _ in learner.backbone.named_parameters() if path.startswith(tuple(f"{one}." for one in inside))
    }
    trained = sum(weight.numel() for weight in learner.parameters() if weight.requires_grad)
    assert f"{trained:,} of them trained" in parameters_in_words(learner)


def test_nothing_left_to_train_is_refused(tmp_path: Path) -> None:
    shape = "model.width=16 model.heads=2 model.feed_forward=32 model.positions=32 model.layers=1".split()
    run = TinyRun(tmp_path / "run", ("trainer.freeze=[embeddings,layer.0..1]",), ["model=bart", "objective=bart", *shape])
    with pytest.raises(SettingsError, match="nothing to train"):
        run.trainer()


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["trainer.freeze=[layer.2]", "model.layers=2"], "has the layers 0 to 1"),
        (["trainer.freeze=[layer.0..1]", "model=albert"], "has one layer, 0"),
        (["trainer.freeze=[layer.3..1]"], "'layer.3..1' is no part of a model"),
        (["trainer.freeze=[embedding]"], "'embedding' is no part of a model"),
    ],
)
def test_parts_that_are_not_there(words: list[str], problem: str) -> None:
    with pytest.raises(SettingsErrors) as told:
        pretrain_settings(compose(words))
    assert any(problem in str(error) for error in told.value.errors)


def test_a_run_that_began_with_other_frozen_parts_is_another_run(tmp_path: Path) -> None:
    run = TinyRun(tmp_path / "run")
    run.folder.write_config(run.settings.model_dump(mode="json"))
    drift = changes(run.folder, run.with_overrides(FREEZE).settings)
    assert [change.key for change in drift.structural] == ["trainer.freeze"]
