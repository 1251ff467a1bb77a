"""Translation language modelling: resumed bit for bit, and the same over micro-batches, processes and workers."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from support.parallel_store import corpus
from support.tiny_run import TinyRun, in_child, in_group

from plmtrain.data.rows.translations import Translations
from plmtrain.text.vocabulary import Vocabulary
from plmtrain.training.run_folder import RunFolder

TLM = (
    "model=xlm model.layers=2 model.width=16 model.heads=2 model.feed_forward=64 model.positions=32 objective=tlm data=parallel "
    "data.files=[none.tsv] data.languages=[en,de,ko]"
).split()
VOCABULARY = Vocabulary(64, {"pad": 2, "unk": 4, "cls": 3, "sep": 3, "mask": 1}, (0, 1, 2, 3, 4))
NO_DROPOUT = ("model.dropout=0", "model.attention_dropout=0")


def rows(program: Any, phase: Any, seed: int = 0) -> Translations:
    store = corpus(9, seed, languages=3)
    return Translations(store, program.row_shape(phase.sequence_length).length, translation_share=0.5, exponent=0.7)


def run_in(path: Path, *overrides: str) -> TinyRun:
    held_out = Translations(corpus(5, 1, languages=3), 12, translation_share=0.5, exponent=0.7)
    return TinyRun(path, overrides, TLM, VOCABULARY, rows=rows, held_out=held_out)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> str:
    run = run_in(tmp_path_factory.mktemp("unbroken"), "trainer.micro_batch_size=4")
    assert in_child(run.go) == 0
    assert any("val/mlm/loss_translated_ko" in record for record in run.records())
    return run.digest()


@pytest.mark.parametrize("fault", ["train.accum@6", "save.rename@8", "train.forward@3"])
def test_killed_and_resumed(unbroken: str, tmp_path: Path, fault: str) -> None:
    """Inside an accumulation, inside a save, and where an epoch of some twenty rows begins; on the way with workers."""
    run = run_in(tmp_path / "run", "trainer.micro_batch_size=4", "trainer.workers=2")
    assert in_child(run.go, fault) == -signal.SIGKILL
    run.overrides = ("trainer.micro_batch_size=4",)
    assert in_child(run.go) == 0
    assert run.digest() == unbroken


@pytest.mark.parametrize("micro", [8, 3])
def test_micro_batches_and_processes_change_nothing(tmp_path: Path, micro: int) -> None:
    alone = run_in(tmp_path / "alone", *NO_DROPOUT)
    assert in_child(alone.go) == 0
    other = run_in(tmp_path / "other", *NO_DROPOUT, f"trainer.micro_batch_size={micro}")
    assert in_group(other.go, 2) == [0, 0] if micro == 8 else in_child(other.go) == 0
    for left, right in zip(alone.records(), other.records(), strict=True):
        assert left == pytest.approx(right, rel=1e-5, abs=1e-8)
    one, two = (RunFolder(run.path).checkpoints().newest() for run in (alone, other))
    assert one is not None
    assert two is not None
    weights = two.load("model")
    for name, tensor in one.load("model").items():
        torch.testing.assert_close(tensor, weights[name], rtol=1e-4, atol=1e-6)


def test_two_processes_resume_exactly_with_dropout_on(tmp_path: Path) -> None:
    whole = run_in(tmp_path / "whole", "trainer.micro_batch_size=2")
    assert in_group(whole.go, 2) == [0, 0]
    run = run_in(tmp_path / "run", "trainer.micro_batch_size=2")
    assert in_group(run.go, 2, "train.accum@6", faulty_rank=0)[0] == -signal.SIGKILL
    assert in_group(run.go, 2) == [0, 0]
    assert run.digest() == whole.digest()
