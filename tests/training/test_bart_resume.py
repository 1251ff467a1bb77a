"""BART killed and resumed to the bit with dropout on; and the same in two processes, in micro-batches, and with workers."""

from __future__ import annotations

import signal
from pathlib import Path

import numpy as np
import pytest
from support.tiny_run import MemoryRows, TinyRun, in_child, in_group

from plmtrain.data.rows.rows import Rows
from plmtrain.text.vocabulary import Vocabulary
from plmtrain.training.run_folder import RunFolder

VOCABULARY = Vocabulary(64, {"cls": 0, "bos": 0, "pad": 1, "sep": 2, "eos": 2, "unk": 3, "mask": 4}, (0, 1, 2, 3, 4))

SYSTEM = (
    "model=bart model.layers=1 model.width=16 model.heads=2 model.feed_forward=32 model.positions=40 objective=bart "
    "objective.delete=0.1 objective.insert=0.05 objective.rotate=0.3"
).split()

NO_DROPOUT = ("model.dropout=0", "model.attention_dropout=0")


class Sentences(MemoryRows):
    """Rows of random tokens with sentences and document ends in them."""

    def fetch(self, indices: np.ndarray) -> Rows:
        tokens = super().fetch(indices).tokens
        return Rows(
            tokens=np.where(tokens == 9, 2, tokens),
            lengths=np.full(len(tokens), tokens.shape[1]),
            word_starts=tokens % 3 > 0,
            sentence_starts=tokens % 5 == 0,
        )


def run(path: Path, *overrides: str) -> TinyRun:
    return TinyRun(path, overrides, system=SYSTEM, vocabulary=VOCABULARY, rows=Sentences(40, 12))


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The digest of the run that nothing disturbs: 12 steps of 8 rows over 40 rows, two epochs and more."""
    whole = run(tmp_path_factory.mktemp("unbroken"), "trainer.micro_batch_size=3")
    whole.go()
    losses = [record for record in whole.records() if "loss" in record]
    assert all(record["loss"] == pytest.approx(record["loss/denoising"]) for record in losses)
    assert all(record["loss/corrupted"] > 0 for record in losses)
    return whole.digest()


@pytest.mark.parametrize("fault", ["train.accum@6", "save.write@8", "train.forward@5"])
def test_killed_anywhere(unbroken: str, tmp_path: Path, fault: str) -> None:
    """Inside an accumulation, inside a save, at an epoch's edge."""
    broken = run(tmp_path / "run", "trainer.micro_batch_size=3")
    assert in_child(broken.go, fault) == -signal.SIGKILL
    assert in_child(broken.go) == 0
    assert broken.digest() == unbroken


def test_workers_change_nothing(unbroken: str, tmp_path: Path) -> None:
    helped = run(tmp_path / "run", "trainer.micro_batch_size=3", "trainer.workers=2")
    assert in_child(helped.go) == 0
    helped.overrides = ("trainer.micro_batch_size=3",)
    assert helped.digest() == unbroken


def assert_same_run(one: TinyRun, other: TinyRun) -> None:
    for left, right in zip(one.records(), other.records(), strict=True):
        assert left == pytest.approx(right, rel=1e-5, abs=1e-8)
    mine, theirs = (RunFolder(each.path).checkpoints().newest() for each in (one, other))
    assert mine is not None
    assert theirs is not None
    for name, tensor in mine.load("model").items():
        np.testing.assert_allclose(tensor.numpy(), theirs.load("model")[name].numpy(), rtol=1e-4, atol=2e-6)


def test_neither_processes_nor_micro_batches_change_anything(tmp_path: Path) -> None:
    """Even where rows of unequal length are padded otherwise in each part."""
    alone = run(tmp_path / "alone", *NO_DROPOUT)
    assert in_child(alone.go) == 0
    parted = run(tmp_path / "parted", *NO_DROPOUT, "trainer.micro_batch_size=3")
    assert in_child(parted.go) == 0
    assert_same_run(alone, parted)
    together = run(tmp_path / "together", *NO_DROPOUT)
    assert in_group(together.go, 2) == [0, 0]
    assert_same_run(alone, together)
