"""A validation in micro-batches: no pass of the model has more rows than one in training, and no value changes."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.every_program import PROGRAMS
from support.memory_rows import memory_rows
from support.tiny_run import TinyRun
from torch import nn

from plmtrain.data.rows.rows import streams_of
from plmtrain.training.evaluation import evaluate, held_out_batches


@pytest.mark.parametrize("name", ["dynamic_mlm", "span_corruption", "classification", "plm"])
def test_micro_batches_change_no_value(tmp_path: Path, name: str) -> None:
    """Batches of eight rows and of two, three at a time; streams are taken at once."""
    trainer = PROGRAMS[name].run(tmp_path / "run").trainer()
    setup, sizes = trainer.setup, list[int]()
    trainer.module.register_forward_pre_hook(lambda module, given: sizes.append(len(given[1].samples)))

    def values(micro_batch_size: int | None) -> dict[str, float]:
        sizes.clear()
        measured = evaluate(
            trainer.module, setup.programs[-1], setup.held_out, setup.group, batch_size=8, micro_batch_size=micro_batch_size
        )
        assert measured is not None
        return measured

    whole, largest = values(None), max(sizes)
    assert values(3) == pytest.approx(whole, rel=1e-5, abs=1e-6, nan_ok=True)
    assert max(sizes) == (largest if name == "plm" else 3)
    assert largest > 3


def test_the_trainer_validates_in_its_last_phases_micro_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = TinyRun(tmp_path / "run", ("trainer.phases=[{steps:6,micro_batch_size:4},{steps:6,micro_batch_size:3}]",))
    trainer = run.trainer()
    validated: list[int] = []

    def note(module: nn.Module, given: Any) -> None:
        if not module.training:
            validated.append(len(given[1].samples))

    trainer.module.register_forward_pre_hook(note)
    trainer._evaluate(0)
    assert validated == [3, 3, 2, 2]


@pytest.mark.parametrize("micro_batch_size", [None, 1, 2, 3])
def test_all_processes_take_as_many_micro_batches(tmp_path: Path, micro_batch_size: int | None) -> None:
    """Ten rows, in batches of eight, of three processes: each row counts once, and a process without any takes part."""
    setup = TinyRun(tmp_path / "run").trainer().setup
    program = setup.programs[0].parts.main.program
    rows = memory_rows(program, setup.plan.phases[0], 10, 1)
    assert streams_of(rows) is None
    taken: list[int] = []
    counts = set()
    for rank in range(3):
        group: Any = SimpleNamespace(size=3, rank=rank)
        batches = list(held_out_batches(program, rows, 8, micro_batch_size, group, None))
        counts.add(len(batches))
        assert all(len(batch.samples) <= (micro_batch_size or 3) for batch, _ in batches)
        taken += [sample for batch, counted in batches if counted for sample in batch.samples.tolist()]
    assert len(counts) == 1
    assert sorted(taken) == list(range(10))
