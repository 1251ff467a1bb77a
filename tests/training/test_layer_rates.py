"""Learning rates by layer: the published formula by the names of tensors, what a step really changes, and across a kill."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from support.memory_rows import VOCABULARY
from support.tiny_run import TinyRun, in_child
from support.tiny_task import MODELS, program, tiny_model, writer

from plmtrain import backbones
from plmtrain.errors import SettingsErrors
from plmtrain.optim.optimizer import build
from plmtrain.settings.composing.compose import compose
from plmtrain.settings.decode import finetune_settings
from plmtrain.settings.optimizer import OptimizerSettings
from plmtrain.training.layer_rates import rate_shares

torch.set_num_threads(1)
DECAY = 0.8


def by_name(name: str, layers: int) -> float:
    """The share of a tensor by its name, as google-research/electra, model/optimization.py: _get_layer_lrs."""
    if not name.startswith("backbone."):
        return 1.0
    if (layer := re.search(r"\blayers\.(\d+)\.", name)) is not None:
        return DECAY ** (layers + 2 - (int(layer[1]) + 1))
    after_the_last = re.fullmatch(r"backbone\.((encoder|decoder)\.)?norm\.(weight|bias)|backbone\.output\.weight", name)
    return DECAY ** (layers + 2 - (layers if after_the_last else 0))


@pytest.mark.parametrize("family", [*MODELS, "t5", "bart written"])
def test_shares_follow_electras_code_in_every_family(family: str) -> None:
    if family == "t5":
        shape = "width=16 heads=2 head_width=8 feed_forward=32 positions=32 layers=2".split()
        words = ["model=t5_v1_1_small", *(f"model.{value}" for value in shape), "task=sequence_to_sequence", "data.files=[a.tsv]"]
        words.append("trainer.sequence_length=24")
        task = writer(finetune_settings(compose(words, primary="finetune")).model)
    elif family == "bart written":
        task = writer()
    else:
        task = program(tiny_model(family), length=24)
    learner = task.build(lambda model: backbones.build(model, VOCABULARY.size))
    settings = OptimizerSettings(lr=1.0, layer_decay=DECAY)
    optimizer = build(learner, settings, rate_shares(learner, settings))
    shares = {parameter: group["share"] for group in optimizer.param_groups for parameter in group["params"]}
    layers = 1 if family == "albert" else 2  # ALBERT's layers are one
    expected = {name: by_name(name, layers) for name, weight in learner.named_parameters() if weight.requires_grad}
    assert {name: shares[learner.get_parameter(name)] for name in expected} == pytest.approx(expected)
    assert len(shares) == len(expected)
    assert any(name.startswith("backbone.") for name in expected)


def test_the_published_recipes() -> None:
    """Clark et al. 2020, appendix B, with the depths of their code; Yang et al. 2019, appendix A.4: lr * 0.75^(24 - m)."""
    electra, xlnet = (
        finetune_settings(compose([f"optimizer={name}_finetuning", "data.files=[a.tsv]"], primary="finetune")).optimizer
        for name in ("electra", "xlnet")
    )
    model = tiny_model("bert", "model.layers=12")
    for settings, layer in ((electra, lambda m: 0.8 ** (12 + 2 - m)), (xlnet, lambda m: 0.75 ** (12 - m))):
        backbone = backbones.build(model, 20)
        shares = rate_shares(backbone, settings)
        of_layers = [shares[block.attention.output.weight] for block in backbone.layers]
        assert of_layers == pytest.approx([layer(m) for m in range(1, 13)])
        assert shares[backbone.embedding_weight] == pytest.approx(layer(0))
    assert rate_shares(backbone, OptimizerSettings(lr=1.0)) == {}


def test_a_step_changes_each_layer_by_its_rate(tmp_path: Path) -> None:
    """Adam's first update is the learning rate, wherever the gradient is far above epsilon."""
    words = f"optimizer.layer_decay={DECAY} optimizer.weight_decay=0 schedule.type=constant schedule.warmup=0 trainer.steps=1"
    run = TinyRun(tmp_path / "run", (*words.split(), "optimizer.eps=1e-12", "optimizer.clip_norm=null"))
    before = {name: weight.detach().clone() for name, weight in run.trainer().state.learner.named_parameters()}
    learner = run.go().state.learner
    for name, weight in learner.named_parameters():
        moved = float((weight.detach() - before[name]).abs().max())
        assert moved == pytest.approx(0.01 * by_name(name, 2), rel=0.02), name


def test_a_killed_run_goes_on_with_the_rates_of_its_layers(tmp_path: Path) -> None:
    words = ("optimizer.layer_decay=0.7", "trainer.freeze=[layer.0]")
    whole, killed = TinyRun(tmp_path / "whole", words), TinyRun(tmp_path / "killed", words)
    assert in_child(whole.go) == 0
    assert in_child(killed.go, "optim.before_step@6") != 0
    assert in_child(killed.go) == 0
    assert killed.digest() == whole.digest()


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["optimizer.head_depth=0"], "head_depth has no meaning without layer_decay"),
        (["optimizer.layer_decay=1.5"], "at most 1"),
        (["model=elmo", "optimizer.layer_decay=0.8"], "the head reads a mix of the layers of model=elmo"),
        (["trainer.reinitialise_layers=1"], "without init= all layers start from random weights"),
    ],
)
def test_what_has_no_meaning_is_refused(words: list[str], problem: str) -> None:
    with pytest.raises(SettingsErrors) as told:
        finetune_settings(compose([*words, "data.files=[a.tsv]"], primary="finetune"))
    assert any(problem in str(error) for error in told.value.errors)
