"""XLNet carries a memory from step to step: killed anywhere, shared out otherwise, it ends with the same weights."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.tiny_run import TinyRun, in_child, in_group

from plmtrain.data.corpus.store import Store
from plmtrain.data.loading.order import Phase
from plmtrain.data.rows.streams import Streams
from plmtrain.programs.program import Program
from plmtrain.text.vocabulary import Vocabulary
from plmtrain.training.run_folder import RunFolder

XLNET = (
    "model=xlnet model.layers=2 model.width=16 model.heads=2 model.feed_forward=32 objective=plm "
    "objective.mem_len=12 data.isolate_documents=true"
).split()
VOCABULARY = Vocabulary(64, {"unk": 0, "cls": 3, "sep": 4, "pad": 5, "mask": 6}, (0, 1, 2, 3, 4, 5, 6))
NO_DROPOUT = ("model.dropout=0", "model.attention_dropout=0")


def store(tokens: int, seed: int) -> Store:
    draw = np.random.default_rng(seed)
    text = 7 + draw.zipf(1.5, tokens) % 57
    documents = np.unique([0, *draw.integers(1, tokens, tokens // 40), tokens])
    text[documents[1:] - 1] = VOCABULARY["sep"]
    sentences = np.union1d(documents, draw.integers(1, tokens, tokens // 8))
    return Store(Path("memory"), "train", text.astype(np.uint16), documents, sentences, np.ones(tokens, np.bool_))


def streams(program: Program[Any], phase: Phase) -> Streams:
    """Eight streams of five times: an epoch has five steps, and the run more than two epochs."""
    shape = program.row_shape(phase.sequence_length)
    length, advance = shape.length, shape.advance
    count = phase.batch_size
    text = store(count * (length + 4 * advance), seed=0)
    return Streams(text, length, count, advance=advance, others=shape.others, isolate_documents=True)


def run(path: Path, *overrides: str) -> TinyRun:
    held_out = Streams(store(400, seed=1), 11, 5, advance=7, others=4, isolate_documents=True)
    return TinyRun(path, overrides, system=XLNET, vocabulary=VOCABULARY, rows=streams, held_out=held_out)


def carried(made: TinyRun) -> Mapping[str, torch.Tensor]:
    checkpoint = RunFolder(made.path).checkpoints().newest()
    assert checkpoint is not None
    return checkpoint.load("carry")


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> str:
    whole = run(tmp_path_factory.mktemp("unbroken"), "trainer.micro_batch_size=3")
    whole.go()  # here, so that the children find everything imported
    assert {name: list(tensor.shape) for name, tensor in carried(whole).items()} == {
        "memory": [8, 2, 12, 16],
        "memory_documents": [8, 12],
    }
    return whole.digest()


@pytest.mark.parametrize(
    "fault",
    [
        "train.accum@0",  # there is no memory yet
        "train.accum@1",
        "train.forward@5",  # an epoch's edge: every stream begins anew
        "eval@5",
        "save.rename@8",
        "train.backward@11",
    ],
)
def test_killed_anywhere_it_remembers_the_same(unbroken: str, tmp_path: Path, fault: str) -> None:
    made = run(tmp_path / "run", "trainer.micro_batch_size=3", "trainer.save_every=1")
    assert in_child(made.go, fault) == -signal.SIGKILL
    made.overrides = ("trainer.micro_batch_size=3", "trainer.save_every=4")
    assert in_child(made.go) == 0
    assert made.digest() == unbroken


def test_workers_change_nothing(unbroken: str, tmp_path: Path) -> None:
    made = run(tmp_path / "run", "trainer.micro_batch_size=3", "trainer.workers=2")
    assert in_child(made.go) == 0
    assert made.digest() == unbroken


def test_the_memory_changes_the_loss(tmp_path: Path) -> None:
    losses = {}
    for name, overrides in {"with": (), "without": ("objective.mem_len=0",)}.items():
        made = run(tmp_path / name, *NO_DROPOUT, *overrides)
        assert in_child(made.go) == 0
        losses[name] = [record["loss"] for record in made.records() if "loss" in record]
    assert losses["with"][0] == losses["without"][0]  # there is nothing to remember yet
    assert all(one != other for one, other in zip(losses["with"][1:5], losses["without"][1:5], strict=True))


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> TinyRun:
    made = run(tmp_path_factory.mktemp("alone"), *NO_DROPOUT)
    assert in_child(made.go) == 0
    return made


def assert_same_run(one: TinyRun, other: TinyRun) -> None:
    for left, right in zip(one.records(), other.records(), strict=True):
        assert left == pytest.approx(right, rel=1e-5, abs=1e-7)
    expected, found = carried(one), carried(other)
    assert found.keys() == expected.keys()
    assert torch.equal(found["memory_documents"], expected["memory_documents"])
    torch.testing.assert_close(found["memory"], expected["memory"], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("size", [1, 3])
def test_micro_batches_change_nothing(alone: TinyRun, tmp_path: Path, size: int) -> None:
    made = run(tmp_path / "run", *NO_DROPOUT, f"trainer.micro_batch_size={size}")
    assert in_child(made.go) == 0
    assert_same_run(alone, made)


def test_two_processes_change_nothing(alone: TinyRun, tmp_path: Path) -> None:
    made = run(tmp_path / "run", *NO_DROPOUT, "trainer.micro_batch_size=3")
    assert in_group(made.go, 2) == [0, 0]
    assert_same_run(alone, made)


def test_processes_may_change_at_every_resume(alone: TinyRun, tmp_path: Path) -> None:
    """One, two, four and one again: the memory is handed out anew each time, in the middle of an epoch and at its edge."""
    made = run(tmp_path / "run", *NO_DROPOUT)
    assert in_child(made.go, "train.forward@2:term") == 75
    assert in_group(made.go, 2, "train.forward@4:term", faulty_rank=1) == [75] * 2
    assert in_group(made.go, 4, "train.forward@8:term", faulty_rank=2) == [75] * 4
    assert in_child(made.go) == 0
    assert_same_run(alone, made)


def test_phases_have_streams_and_a_memory_of_their_own(tmp_path: Path) -> None:
    phases = "trainer.phases=[{steps:4},{steps:4,sequence_length:22,batch_size:4,objective:{mem_len:16}},{steps:4}]"
    whole = run(tmp_path / "whole", phases)
    assert in_child(whole.go) == 0
    for step in (4, 6, 8):
        made = run(tmp_path / f"killed-{step}", phases, "trainer.save_every=1")
        assert in_child(made.go, f"train.forward@{step}") == -signal.SIGKILL
        made.overrides = (phases,)
        assert in_child(made.go) == 0
        assert made.digest() == whole.digest()


def test_nothing_is_handed_on_beside_a_gradient_that_is_not_finite(tmp_path: Path) -> None:
    made = run(tmp_path / "run", "trainer.on_nonfinite=skip", "trainer.steps=4")
    assert in_child(made.go, "train.backward@2:nan") == 0
    records = [record for record in made.records() if "loss" in record]
    assert len(records) == 4
    assert carried(made)["memory"].shape[2] == 7  # of the last step alone
    assert all(tensor.isfinite().all() for tensor in carried(made).values())
