"""Killed at any instant and started again, a run comes to the same weights, moments and numbers, bit for bit, with dropout on.

Every objective and every type of task is a row of ``support.every_program``. A run is killed at one point after another and goes
on each time: if one of its resumes were not exact, its end would not be that of the run that nothing disturbed.
"""

from __future__ import annotations

import json
import os
import random
import signal
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.every_program import PROGRAMS
from support.memory_rows import VOCABULARY, MemoryRows, memory_rows
from support.program_kind import Kind
from support.tiny_run import TinyRun, in_child, in_group

from plmtrain import stopping
from plmtrain.data.corpus.store import Store
from plmtrain.data.loading.order import Phase
from plmtrain.data.rows.blocks import Blocks
from plmtrain.data.rows.mixed_rows import MixedRows, MixedStreams, RowsBySource
from plmtrain.data.shards.shard_order import ShardOrder
from plmtrain.data.shards.sharded_rows import BlockShape, ShardedRows
from plmtrain.errors import Stopped
from plmtrain.programs.program import AnyProgram
from plmtrain.settings.lookup import objective_classes, task_classes

PARTED = "trainer.micro_batch_size=3"
"""Eight rows, or four, are not taken at once, nor in equal parts."""

OFTEN = ("dynamic_mlm", "plm", "bilm", "mixture", "classification")
"""One program of each way to go on in two processes: none, a memory, a state, parts that are drawn, examples of a task."""

IN_TWO = [
    pytest.param(name, marks=[pytest.mark.xdist_group(name), *([] if name in OFTEN else [pytest.mark.slow])]) for name in PROGRAMS
]

LOOSE = {"auc": {"abs": 1e-3}, "spearman": {"abs": 1e-2}, "pearson": {"abs": 1e-2}}
"""An area is counted in bins: a logit at the edge of one may fall to either side. A correlation of few and similar scores shows
how rows of other lengths are rounded."""


def test_every_objective_and_task_has_a_row() -> None:
    assert {kind.type for kind in PROGRAMS.values()} == {*objective_classes(), *task_classes()}


@pytest.fixture(scope="module", params=[pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in PROGRAMS])
def kind(request: pytest.FixtureRequest) -> Kind:
    return PROGRAMS[request.param]


def undisturbed(kind: Kind, path: Path) -> TinyRun:
    """Twelve steps in phases, over more than an epoch of each, in micro-batches."""
    run = kind.run(path, *kind.in_phases, PARTED)
    assert in_child(run.go) == 0
    assert [record["step"] for record in run.records() if "loss" in record] == list(range(1, 13))
    return run


@pytest.fixture(scope="module")
def unbroken(kind: Kind, tmp_path_factory: pytest.TempPathFactory) -> TinyRun:
    return undisturbed(kind, tmp_path_factory.mktemp("unbroken"))


def assert_equal(run: TinyRun, whole: TinyRun) -> None:
    """To the bit; the first step that differs is named."""
    for record, expected in zip(run.records(), whole.records(), strict=True):
        assert json.dumps(record) == json.dumps(expected)  # what is undefined is so in both
    assert run.digest() == whole.digest()


def killed(run: TinyRun, points: Iterable[str]) -> None:
    for point in points:
        assert in_child(run.go, point) == -signal.SIGKILL, point


def test_the_unbroken_run_is_not_idle(kind: Kind, unbroken: TinyRun) -> None:
    """All that the objective computes is in the run that the others are compared with."""
    records = unbroken.records()
    for name in kind.logged:
        assert any(name in record for record in records), name
    assert set(unbroken.checkpoint.load("carry")) == set(kind.carry)
    kind.claims(records)


def test_killed_again_and_again(kind: Kind, unbroken: TinyRun, tmp_path: Path) -> None:
    """At an edge, inside an accumulation, inside a save. On the way there are workers, more saves, and blocks computed twice."""
    others = ("trainer.workers=2", "trainer.save_every=2", "trainer.activation_checkpointing=true")
    run = kind.run(tmp_path / "run", *kind.in_phases, PARTED, *others)
    killed(run, kind.points)
    run = run.with_overrides(*kind.in_phases, PARTED)
    assert in_child(run.go) == 0
    assert_equal(run, unbroken)


@pytest.mark.parametrize("name", IN_TWO)
def test_two_processes_resume_exactly(name: str, tmp_path: Path) -> None:
    kind = PROGRAMS[name]
    whole = kind.run(tmp_path / "whole", PARTED, "trainer.steps=6", "trainer.save_every=2")
    assert in_group(whole.go, 2) == [0, 0]
    run = kind.run(tmp_path / "run", *whole.overrides)
    codes = in_group(run.go, 2, "train.accum@3", faulty_rank=0)
    assert codes[0] == -signal.SIGKILL
    assert codes[1] != 0
    assert run.checkpoint.step == 2
    assert in_group(run.go, 2) == [0, 0]
    assert_equal(run, whole)


def test_neither_processes_nor_micro_batches_change_anything(kind: Kind, tmp_path: Path) -> None:
    """Without dropout, up to rounding: five steps in two processes and unequal micro-batches, and seven more in one process,
    are the steps of one process that takes each batch at once."""
    alone = kind.run(tmp_path / "alone", *kind.no_dropout)
    assert in_child(alone.go) == 0
    shared = kind.run(tmp_path / "shared", *kind.no_dropout, PARTED)
    assert in_group(shared.go, 2, "eval@5:term", faulty_rank=1) == [75, 75]
    assert shared.checkpoint.step == 5
    assert in_child(shared.go) == 0
    assert_same_up_to_rounding(shared, alone, kind.unseen)


class CountedShards:
    """Three files of a stream as if they were prepared; the second one fills no row."""

    sizes = (100, 9, 150)

    def tokens(self, number: int, asking: Callable[[], None]) -> int:
        return self.sizes[number]

    def wait_for(self, number: int) -> None:
        assert self.sizes[number] > 9

    def store(self, number: int) -> Store:
        tokens = np.random.default_rng(number).integers(5, VOCABULARY.size, self.sizes[number]).astype(np.uint16)
        ends = np.array([0, len(tokens)])
        return Store(Path("memory"), "train", tokens, ends, ends, np.ones(len(tokens), np.bool_))


class StoppingShards(CountedShards):
    """They are awaited in the third step until a stop that only the first process was asked for."""

    awaited = 0

    def wait_for(self, number: int) -> None:
        self.awaited += 1
        if self.awaited == 5:
            if os.environ.get("RANK", "0") == "0":
                os.kill(os.getpid(), signal.SIGTERM)
            raise stopping.stopped()


def streamed(program: AnyProgram, phase: Phase, kind: type[CountedShards] = CountedShards) -> ShardedRows:
    """The blocks of a stream: of eight rows in a step, some are of the next file, or of the next epoch."""
    length, shards = program.row_shape(phase.sequence_length).length, kind()
    blocks = partial(Blocks, length=length)
    source = ShardedRows(shards, BlockShape(length, length), blocks, blocks(shards.store(2)), None)  # type: ignore[arg-type]
    source.order = ShardOrder(1, len(shards.sizes), source.rows_in)
    return source


@pytest.mark.parametrize("system", ["dynamic_mlm", "plm", "stream"])
def test_text_of_several_sources_goes_on_exactly_in_any_division(system: str, tmp_path: Path) -> None:
    """Rows of two texts, their streams, or files in turn: killed and gone on with to the bit, and up to rounding the same
    in two processes."""
    kind = PROGRAMS["dynamic_mlm" if system == "stream" else system]

    def train(program: AnyProgram, phase: Phase) -> Any:
        if system == "stream":
            return streamed(program, phase)
        if system == "plm":
            return MixedStreams([memory_rows(program, replace(phase, batch_size=streams), 0) for streams in (3, 5)], (3, 5))
        return MixedRows([memory_rows(program, phase, count, count) for count in (11, 40)], (3, 5))

    def held_out(program: AnyProgram, phase: Phase) -> RowsBySource:
        texts = {name: memory_rows(program, phase, 10, seed) for seed, name in enumerate(("one", "two"), start=1)}
        return RowsBySource(texts, {"one": 0.375, "two": 0.625})

    def run(name: str, *overrides: str) -> TinyRun:
        steps = ("trainer.steps=8", "trainer.evaluate_every=4")
        return replace(kind.run(tmp_path / name, *overrides, *steps), rows=train, held_out=held_out)

    whole = run("whole", PARTED)
    assert in_child(whole.go) == 0
    assert {"val/one/loss", "val/two/loss", "val/loss"} <= whole.records()[-1].keys()
    again = run("again", PARTED, "trainer.workers=2")
    killed(again, ("train.accum@6",))
    assert in_child(again.go) == 0
    assert_equal(again, whole)
    alone, shared = run("alone", *kind.no_dropout), run("shared", *kind.no_dropout, PARTED)
    assert in_child(alone.go) == 0
    assert in_group(shared.go, 2) == [0, 0]
    assert_same_up_to_rounding(shared, alone)


@pytest.mark.parametrize("size", [1, 2])
def test_a_stop_while_rows_are_awaited_is_one_between_two_steps(size: int, tmp_path: Path) -> None:
    """Whichever process heard it: what was done is saved, though no checkpoint was due."""
    kind = PROGRAMS["dynamic_mlm"]
    run = kind.run(tmp_path / "run", "trainer.steps=8", "trainer.save_every=8")
    run = replace(run, rows=partial(streamed, kind=StoppingShards))
    assert in_group(run.go, size) == [Stopped.exit_code] * size
    assert run.checkpoint.progress.step > 0


def assert_same_up_to_rounding(run: TinyRun, whole: TinyRun, unseen: str = "") -> None:
    for record, expected in zip(run.records(), whole.records(), strict=True):
        assert record.keys() == expected.keys()
        for name, value in expected.items():
            tolerance = next((loose for word, loose in LOOSE.items() if word in name), {"rel": 1e-5, "abs": 1e-7})
            assert record[name] == pytest.approx(value, nan_ok=True, **tolerance), (expected["step"], name)
    for group, relative, absolute in (("model", 1e-4, 2e-6), ("optimizer", 1e-3, 1e-6), ("carry", 1e-3, 1e-4)):
        tensors, others = run.checkpoint.load(group), whole.checkpoint.load(group)
        assert tensors.keys() == others.keys()
        for name, tensor in tensors.items():
            if name.endswith(".step") or not tensor.is_floating_point():
                assert torch.equal(tensor, others[name]), name  # what a step did not use, no process updated
                continue
            parts = _parts(name, tensor, unseen), _parts(name, others[name], unseen)
            for (one, loose), (other, _) in zip(*parts, strict=True):
                torch.testing.assert_close(
                    one,
                    other,
                    rtol=relative,
                    atol=loose * absolute,
                    msg=lambda text: f"{name}: {text}",  # noqa: B023
                )


def _parts(name: str, tensor: torch.Tensor, unseen: str) -> list[tuple[torch.Tensor, float]]:
    """The parts of a parameter, or of its moments, each with the factor of its absolute tolerance. Biases of keys add a number to
    all scores of a query, which no softmax sees: rounding alone is their gradient, and Adam makes small steps of it."""
    if unseen and unseen in name:
        return [(tensor, 50.0)]
    if "query_key_value.bias" not in name:
        return [(tensor, 1.0)]
    query, key, value = tensor.chunk(3)
    return [(query, 1.0), (key, 50.0), (value, 1.0)]


masked = pytest.mark.xdist_group("dynamic_mlm")
"""The points below are the trainer's, whatever it trains: they are tried with one objective."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> TinyRun:
    return undisturbed(PROGRAMS["dynamic_mlm"], tmp_path_factory.mktemp("whole"))


@pytest.fixture
def again(whole: TinyRun, tmp_path: Path) -> Callable[..., TinyRun]:
    """The same run in a folder of its own, under further overrides."""
    return lambda *further: TinyRun(
        tmp_path / "run", (*whole.overrides, *further), whole.system, whole.vocabulary, epoch=whole.epoch
    )


@masked
def test_killed_before_every_step(whole: TinyRun, again: Callable[..., TinyRun]) -> None:
    """The last checkpoint lies up to three steps back, or there is none yet."""
    run = again()
    killed(run, (f"train.forward@{step}" for step in range(12)))
    assert in_child(run.go) == 0
    assert_equal(run, whole)


@masked
def test_killed_between_all_checkpoints(whole: TinyRun, again: Callable[..., TinyRun]) -> None:
    """Each step goes on from the checkpoint of the one before."""
    run = again("trainer.save_every=1")
    killed(run, (f"train.forward@{step}" for step in range(1, 12)))
    assert in_child(run.go) == 0
    assert_equal(run, whole)


@masked
def test_killed_inside_a_step_a_validation_or_a_save(whole: TinyRun, again: Callable[..., TinyRun]) -> None:
    run = again()
    inside = "optim.after_step@4 eval@5 train.accum@6 train.backward@7 save.open@8 save.write@8 save.fsync@8 save.rename@8"
    killed(run, [*inside.split(), "optim.before_step@9", "save.retention@12"])
    assert in_child(run.go) == 0
    assert_equal(run, whole)


@masked
@pytest.mark.parametrize("action", ["term", "usr1", "int"])
def test_asked_to_stop(whole: TinyRun, again: Callable[..., TinyRun], action: str) -> None:
    """A signal loses nothing at all: the step is finished and saved, and the run goes on from there."""
    run = again()
    for point, step in (("train.forward@1", 2), ("save.write@4", 5), ("train.accum@6", 7), ("eval@10", 10)):
        assert in_child(run.go, f"{point}:{action}") == 75
        assert run.checkpoint.step == step, point
    assert in_child(run.go) == 0
    assert_equal(run, whole)


@masked
def test_poisoned_generators_change_nothing(whole: TinyRun, again: Callable[..., TinyRun]) -> None:
    """Nothing that the run draws comes from a generator that somebody else could touch (RX7)."""
    run = again()
    assert in_child(run.go, ",".join(f"optim.after_step@{step}:poison_rng" for step in range(12))) == 0
    assert_equal(run, whole)


@masked
def test_workers_may_change_at_a_resume(whole: TinyRun, again: Callable[..., TinyRun]) -> None:
    for workers, point in ((1, "train.forward@3"), (2, "train.forward@6"), (0, "train.forward@9")):
        killed(again(f"trainer.workers={workers}"), [point])
    run = again("trainer.workers=1")
    assert in_child(run.go) == 0
    assert_equal(run, whole)


@masked
def test_another_seed_is_another_run(whole: TinyRun, again: Callable[..., TinyRun]) -> None:
    """The digest does see a difference."""
    run = again("seed=2")
    assert in_child(run.go) == 0
    assert run.digest() != whole.digest()


def test_resume_is_instant_in_ten_million_rows(tmp_path: Path) -> None:
    """Seeking costs the same wherever the run stands (RX8): nothing is read on the way there."""

    class Counting(MemoryRows):
        fetched = 0

        def __len__(self) -> int:
            return 10_000_000

        def fetch(self, indices: np.ndarray) -> object:
            Counting.fetched += len(indices)
            return super().fetch(indices % len(self.tokens))

    run = TinyRun(tmp_path / "run", ("trainer.steps=1000000",), rows=Counting(40, 12))
    trainer = run.trainer()
    trainer.progress = type(trainer.progress)(step=900_000)
    assert Counting.fetched == 1  # to count the operations of a step
    Counting.fetched = 0
    number, batches = next(trainer._load())
    assert number == 900_000
    assert Counting.fetched == sum(len(batch.samples) for batch in batches) == 8


def test_global_generators_are_left_alone(tmp_path: Path) -> None:
    """Training reseeds torch for dropout, and touches neither Python's generator nor NumPy's."""
    random.seed(5)
    np.random.seed(5)
    expected = random.random(), np.random.rand()
    random.seed(5)
    np.random.seed(5)
    TinyRun(tmp_path / "run", ("trainer.steps=2",)).go()
    assert (random.random(), np.random.rand()) == expected
    assert torch.initial_seed() != 5
