"""The moving average of the weights: the recursion of its definition, validated and loaded as the result, exact across a kill."""

from __future__ import annotations

from pathlib import Path

import torch
from support.tiny_run import TinyRun, in_child
from torch import Tensor

from plmtrain.training.average import WeightAverage
from plmtrain.training.state import load_result

EVERY_STEP = ("trainer.steps=6", "trainer.save_every=1", "trainer.keep=9", "trainer.evaluate_every=3")
FREEZE = "trainer.freeze=[layer.0]"


def saved(run: TinyRun, step: int, group: str) -> dict[str, Tensor]:
    return run.folder.checkpoints().at(step).load(group)


def test_it_is_the_recursion_over_the_weights_of_all_steps(tmp_path: Path) -> None:
    run = TinyRun(tmp_path / "run", (*EVERY_STEP, FREEZE, "trainer.ema=0.3"))
    first = {name: tensor.double() for name, tensor in run.trainer().state.learner.state_dict().items()}
    assert in_child(run.go) == 0
    average = first
    for step in range(1, 7):
        kept = min(0.3, (1 + step) / (10 + step))
        weights = saved(run, step, "model")
        average = {name: kept * average[name] + (1 - kept) * weights[name].double() for name in weights}
    last = saved(run, 6, "average")
    frozen = {name for name in first if ".layers.0." in name}
    assert frozen
    assert last.keys() & frozen == set()
    for name, tensor in last.items():
        torch.testing.assert_close(tensor.double(), average[name], rtol=1e-5, atol=1e-7)


def test_it_is_validated_and_loaded_while_training_goes_on_from_the_weights(tmp_path: Path) -> None:
    plain, forgetful, slow = (
        TinyRun(tmp_path / name, (*EVERY_STEP, *ema))
        for name, ema in (("plain", ()), ("forgetful", ("trainer.ema=1e-12",)), ("slow", ("trainer.ema=0.99",)))
    )
    for run in (plain, forgetful, slow):
        assert in_child(run.go) == 0
    for run in (forgetful, slow):
        weights = saved(run, 6, "model")
        assert all(torch.equal(tensor, weights[name]) for name, tensor in saved(plain, 6, "model").items())
    assert forgetful.records() == plain.records()  # an average that keeps nothing is the weights
    losses = [[record["val/loss"] for record in run.records() if "val/loss" in record] for run in (plain, slow)]
    assert all(one != other for one, other in zip(*losses, strict=True))
    learner = slow.trainer().state.learner
    load_result(learner, slow.checkpoint)
    average = saved(slow, 6, "average")
    assert all(torch.equal(weight, average[name]) for name, weight in learner.named_parameters())


def test_a_killed_run_goes_on_with_the_same_average(tmp_path: Path) -> None:
    whole, killed = (TinyRun(tmp_path / name, ("trainer.ema=0.9",)) for name in ("whole", "killed"))
    assert in_child(whole.go) == 0
    for point in ("train.forward@5", "save.rename@8"):
        assert in_child(killed.go, point) != 0
    assert in_child(killed.go) == 0
    one, other = (run.checkpoint.load("average") for run in (whole, killed))
    assert one.keys() == other.keys()
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())
    assert killed.digest() == whole.digest()


def test_exchanged_twice_the_weights_are_what_they_were() -> None:
    layer = torch.nn.Linear(3, 2)
    before = [weight.clone() for weight in layer.parameters()]
    average = WeightAverage(layer, 0.5)
    with torch.no_grad():
        layer.weight.add_(1)
    average.update(100)
    with average.installed():
        torch.testing.assert_close(layer.weight, before[0] + 0.5)
        assert torch.equal(layer.bias, before[1])
    torch.testing.assert_close(layer.weight, before[0] + 1)
