"""Pairs of segments: resumed bit for bit over phases, and the same over micro-batches, processes and workers."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.tiny_run import TinyRun, in_child, in_group

from plmtrain.data.rows.pair_rows import PairRows
from plmtrain.training.run_folder import RunFolder

SHAPE = "model.layers=2 model.width=16 model.heads=2 model.feed_forward=32 model.positions=32"
SYSTEMS = {
    "nsp": f"model=bert objective=nsp {SHAPE}".split(),
    "sop": f"model=albert objective=sop optimizer=lamb {SHAPE} model.embedding_width=12".split(),
}
PHASES = "trainer.phases=[{steps:5},{steps:7,sequence_length:20,batch_size:4,objective:{max_predictions:2}}]"
NO_DROPOUT = ("model.dropout=0", "model.attention_dropout=0")

both = pytest.mark.parametrize("kind", SYSTEMS)


class MemoryPairs:
    """Pairs of random tokens, a third of them short."""

    def __init__(self, count: int, length: int, seed: int = 0) -> None:
        draw = np.random.default_rng(seed)
        self.tokens = 5 + draw.zipf(1.5, (count, length)) % 59
        self.lengths = np.where(draw.random(count) < 0.3, draw.integers(2, length + 1, count), length)
        self.first = draw.integers(1, self.lengths)
        self.labels = draw.integers(0, 2, count)

    def __len__(self) -> int:
        return len(self.tokens)

    def fetch(self, indices: np.ndarray) -> PairRows:
        tokens = self.tokens[indices].astype(np.int64)
        return PairRows(
            tokens=tokens,
            lengths=self.lengths[indices],
            word_starts=np.ones(tokens.shape, np.bool_),
            segments=(np.arange(tokens.shape[1]) >= self.first[indices][:, None]).astype(np.int64),
            labels=self.labels[indices],
        )


def tiny(path: Path, kind: str, *overrides: str) -> TinyRun:
    def rows(program: Any, phase: Any) -> MemoryPairs:
        return MemoryPairs(40, program.row_shape(phase.sequence_length).length)

    last = 20 if PHASES in overrides else 14
    return TinyRun(path, overrides, SYSTEMS[kind], rows=rows, held_out=MemoryPairs(10, last - 3, seed=1))


@pytest.fixture(scope="module", params=list(SYSTEMS))
def unbroken(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    run = tiny(tmp_path_factory.mktemp("unbroken"), request.param, PHASES, "trainer.micro_batch_size=3")
    assert in_child(run.go) == 0
    return request.param, run.digest()


@pytest.mark.parametrize("fault", ["train.accum@6", "save.rename@8", "train.forward@5"])
def test_killed_and_resumed(unbroken: tuple[str, str], tmp_path: Path, fault: str) -> None:
    """Inside an accumulation, inside a save, and where the second phase begins, behind the first epoch (8 rows of 40 a step)."""
    kind, digest = unbroken
    run = tiny(tmp_path / "run", kind, PHASES, "trainer.micro_batch_size=3", "trainer.workers=2")
    assert in_child(run.go, fault) == -signal.SIGKILL
    run.overrides = (PHASES, "trainer.micro_batch_size=3")
    assert in_child(run.go) == 0
    assert run.digest() == digest


@both
@pytest.mark.parametrize("micro", [8, 3])
def test_micro_batches_and_processes_change_nothing(tmp_path: Path, kind: str, micro: int) -> None:
    alone = tiny(tmp_path / "alone", kind, *NO_DROPOUT)
    assert in_child(alone.go) == 0
    other = tiny(tmp_path / "other", kind, *NO_DROPOUT, f"trainer.micro_batch_size={micro}")
    assert in_group(other.go, 2) == [0, 0] if micro == 8 else in_child(other.go) == 0
    for left, right in zip(alone.records(), other.records(), strict=True):
        assert left == pytest.approx(right, rel=1e-5, abs=1e-8)
    one, two = (RunFolder(run.path).checkpoints().newest() for run in (alone, other))
    assert one is not None
    assert two is not None
    weights = two.load("model")
    for name, tensor in one.load("model").items():
        torch.testing.assert_close(tensor, weights[name], rtol=1e-4, atol=1e-6)


@both
def test_tokens_are_counted_without_padding(tmp_path: Path, kind: str) -> None:
    run = tiny(tmp_path / "run", kind, "trainer.steps=5")
    assert in_child(run.go) == 0
    lengths = MemoryPairs(40, 11).lengths
    assert [record["tokens"] for record in run.records() if "tokens" in record][-1] == lengths.sum() + 3 * 40
    held_out = next(record for record in run.records() if "val/loss" in record)
    assert held_out["val/loss"] == pytest.approx(held_out["val/loss/mlm"] + held_out[f"val/loss/{kind}"])
    low, middle, high = (held_out[f"val/{kind}/balanced_accuracy{end}"] for end in ("_low", "", "_high"))
    assert 0 <= low <= middle <= high <= 1
    assert "val/perplexity" not in held_out
