"""Sharded training: processes that each hold some rows of every weight come to the same as one that holds them all."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from support.every_program import PROGRAMS
from support.tiny_run import TinyRun, in_child, in_group

from plmtrain.errors import SettingsError, SettingsErrors
from plmtrain.optim.shards import local
from plmtrain.runs.command_settings import kind_for
from plmtrain.settings.composing.compose import compose
from plmtrain.settings.decode import run_settings
from plmtrain.training.group import Group
from plmtrain.training.run_folder import RunFolder

FULL = "trainer.sharding=full"
SHORT = ("trainer.steps=3", "trainer.evaluate_every=2", "trainer.micro_batch_size=2", "schedule.warmup=1")

KINDS: Mapping[str, tuple[str, ...]] = {
    "dynamic_mlm": ("trainer.ema=0.9", "trainer.activation_checkpointing=true"),
    "sop": (),  # LAMB, and one block for all layers
    "rtd": ("optimizer=adagrad", "trainer.freeze=[layer.0]"),  # lent embeddings, and a second backbone
    "span_corruption": (),  # Adafactor, with factored moments
    "plm": ("optimizer.clip_norm=0.1",),  # a carry, and a parameter of one row
    "mixture": (),  # each step trains some parameters alone
    "question_answering": (),  # held-out rows are answered by each process alone
}
"""Programs of different kinds, with further settings."""

OTHERS = ("disentangled_rtd", "bilm", "states", "sequence_to_sequence")


def pairs_of_runs(folder: Path, kinds: Mapping[str, tuple[str, ...]]) -> Mapping[str, tuple[TinyRun, TinyRun]]:
    """Each in one process, and sharded over two."""
    made = {}
    for name, overrides in kinds.items():
        kind = PROGRAMS[name]
        settings = (*SHORT, *kind.no_dropout, *overrides)
        made[name] = (kind.run(folder / name, *settings), kind.run(folder / f"{name}-sharded", *settings, FULL))
    assert in_child(lambda: [alone.trainer().run() for alone, _ in made.values()]) == 0
    assert in_group(lambda: [sharded.trainer().run() for _, sharded in made.values()], 2) == [0, 0]
    return made


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, tuple[TinyRun, TinyRun]]:
    """Those of ``KINDS``."""
    return pairs_of_runs(tmp_path_factory.mktemp("sharded"), KINDS)


def groups_of(run: TinyRun) -> Mapping[str, Mapping[str, torch.Tensor]]:
    """All tensors of its last checkpoint."""
    checkpoint = RunFolder(run.path).checkpoints().newest()
    assert checkpoint is not None
    return {group: checkpoint.load(group) for group in ("model", "optimizer", "average", "carry")}


def assert_same_run(one: TinyRun, other: TinyRun, unseen: str = "") -> None:
    """The parameter whose gradient is rounding alone, if there is one, may differ."""
    for left, right in zip(one.records(), other.records(), strict=True):
        assert left == pytest.approx(right, rel=1e-5, abs=1e-7)
    wanted, measured = groups_of(one), groups_of(other)
    for group, tensors in wanted.items():
        assert tensors.keys() == measured[group].keys()
        for name, tensor in tensors.items():
            if unseen and unseen in name:
                continue
            torch.testing.assert_close(
                measured[group][name], tensor, rtol=1e-4, atol=1e-6, msg=lambda text, name=name: f"{name}: {text}"
            )


@pytest.mark.parametrize("name", KINDS)
def test_shards_change_nothing(runs: Mapping[str, tuple[TinyRun, TinyRun]], name: str) -> None:
    assert_same_run(*runs[name], PROGRAMS[name].unseen)


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_shards_change_nothing_in_other_programs(tmp_path: Path, name: str) -> None:
    assert_same_run(*pairs_of_runs(tmp_path, {name: ()})[name], PROGRAMS[name].unseen)


def test_processes_and_shards_may_change_at_a_resume(tmp_path: Path) -> None:
    """Two with shards, then one, then four with shards within two machines."""
    kind = PROGRAMS["sop"]
    settings = (*SHORT, *kind.no_dropout)
    alone, run = kind.run(tmp_path / "alone", *settings), kind.run(tmp_path / "run", *settings)
    assert in_child(alone.go) == 0
    assert in_group(run.with_overrides(*settings, FULL).go, 2, "train.forward@1:term", faulty_rank=1) == [75, 75]
    assert in_child(run.go, "train.forward@2:term") == 75

    def in_two_machines() -> None:
        os.environ["LOCAL_WORLD_SIZE"] = "2"
        run.with_overrides(*settings, "trainer.sharding=hybrid").go()

    assert in_group(in_two_machines, 4) == [0] * 4
    assert_same_run(alone, run)


def test_sharded_runs_resume_exactly_with_dropout_on(tmp_path: Path) -> None:
    settings = ("trainer.micro_batch_size=2", "trainer.steps=4", "trainer.save_every=2", "trainer.ema=0.9", FULL)
    whole, killed = (TinyRun(tmp_path / name, settings) for name in ("whole", "killed"))

    def go() -> None:
        trainer = whole.go()  # what the whole weights at its end stand beside
        assert not trainer.state.optimizer.state
        assert trainer.state.average is None
        assert all(weight.grad is None for weight in trainer.state.learner.parameters())

    assert in_group(go, 2) == [0, 0]
    assert in_group(killed.go, 2, "train.accum@3", faulty_rank=0)[0] == -signal.SIGKILL
    assert in_group(killed.go, 2) == [0, 0]
    assert killed.digest() == whole.digest()


def test_a_gradient_that_is_not_finite_in_one_shard_changes_no_weights(tmp_path: Path) -> None:
    run = TinyRun(tmp_path / "run", ("trainer.save_every=1", "trainer.steps=3", FULL))
    assert in_group(run.go, 2, "train.backward@2:nan", faulty_rank=1) == [5, 5]
    checkpoint = run.checkpoint
    assert checkpoint.step == 2
    assert all(tensor.isfinite().all() for tensor in checkpoint.load("model").values())


def test_each_process_holds_its_share_alone(tmp_path: Path) -> None:
    """Of weights, moments and average: half of each, but for a row where their number is odd."""
    run = TinyRun(tmp_path / "run", ("trainer.steps=2", "trainer.ema=0.9", FULL))

    def go() -> None:
        trainer = run.trainer()
        trainer.run()
        state = trainer.state
        for name, weight in state.learner.named_parameters():
            moments = state.optimizer.state[weight]
            for tensor in (weight, moments["exp_avg"], moments["exp_avg_sq"], state.average.tensors()[name]):
                assert abs(2 * len(local(tensor)) - tensor.shape[0]) <= 1

    assert in_group(go, 2) == [0, 0]


def test_hybrid_sharding_needs_several_processes_on_each_machine(tmp_path: Path) -> None:
    run = TinyRun(tmp_path / "run", ("trainer.sharding=hybrid",))

    def go() -> None:
        os.environ["LOCAL_WORLD_SIZE"] = "1"
        run.trainer()

    assert in_group(go, 2) == [SettingsError.exit_code] * 2


def test_accelerate_is_not_to_shard_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(SettingsError, match="--use_fsdp") as caught:
        Group("cpu", 60, 1)
    assert "trainer.sharding=full" in caught.value.remedy


@pytest.mark.parametrize(
    ("verb", "words", "key"),
    [
        ("pretrain", ["trainer.sharding=full", "trainer.precision=fp16"], "bf16"),
        (
            "finetune",
            "task=classification task.text=a task.label=b model=elmo trainer.sharding=hybrid".split(),
            "sharding=none",
        ),
    ],
)
def test_what_cannot_be_sharded_is_refused(verb: str, words: list[str], key: str) -> None:
    kind = kind_for(verb, words)
    with pytest.raises(SettingsErrors) as caught:
        run_settings(compose(words, None, kind.primary), kind)
    assert any(key in error.remedy for error in caught.value.errors)
