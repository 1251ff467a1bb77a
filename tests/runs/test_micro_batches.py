"""``trainer.micro_batch_size=auto``: the largest micro-batch that fits, with the same result as if it had been given."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.tiny_run import TinyRun, in_child

from plmtrain.errors import SettingsErrors
from plmtrain.runs import micro_batches
from plmtrain.runs.micro_batches import MICRO_BATCHES, largest_that_fits, sizes_before
from plmtrain.settings.composing.compose import compose
from plmtrain.settings.decode import pretrain_settings
from plmtrain.settings.identity import RESOLVED

AUTO = "trainer.micro_batch_size=auto"


LINE = {
    "constant": st.integers(0, 10**9),
    "each": st.integers(1, 10**8),
    "most": st.integers(1, 500),
    "room": st.integers(0, 10**11),
}


@given(**LINE, known=st.booleans())
def test_the_largest_of_a_line(constant: int, each: int, most: int, room: int, known: bool) -> None:
    """Memory is nearly linear in the rows. The answer is that of arithmetic where its constant is known, and never more; nothing
    that does not fit is tried but a single row."""
    tried = []

    def taken_by(size: int) -> int:
        tried.append(size)
        return constant + each * size

    right = max(1, min(most, (room - constant) // each))
    answer = largest_that_fits(taken_by, most, room, constant if known else 0)
    assert answer == right if known else 1 <= answer <= right
    assert max(tried) <= right


@pytest.mark.parametrize(("capacity", "most"), [(1, 100), (5, 100), (63, 64), (64, 64), (37, 40)])
def test_a_device_that_refuses(capacity: int, most: int) -> None:
    """More rows than there is memory for, whatever was promised: the answer is one that was seen to work."""
    worked = []

    def taken_by(size: int) -> int | None:
        if size > capacity:
            return None
        worked.append(size)
        return size

    assert largest_that_fits(taken_by, most, 10**9) in worked


def test_a_resume_takes_what_the_run_began_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dropout is drawn for each micro-batch: after a kill with other memory the weights are still those of the same number."""
    given_size, found = TinyRun(tmp_path / "given", ("trainer.micro_batch_size=3",)), TinyRun(tmp_path / "found", (AUTO,))
    monkeypatch.setattr(micro_batches, "largest_that_fits", lambda taken_by, most, room, constant: min(3, most))
    assert in_child(given_size.go) == 0
    assert in_child(found.go, "train.forward@6") != 0
    assert found.folder.config()[RESOLVED][MICRO_BATCHES] == [3]
    monkeypatch.setattr(micro_batches, "largest_that_fits", lambda taken_by, most, room, constant: most)
    assert in_child(found.go) == 0
    assert found.digest() == given_size.digest()


def test_each_phase_has_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five and a half rows of a mebibyte fit beside the moments; a phase that gives a number keeps it."""
    phases = "trainer.phases=[{steps:4},{steps:4,batch_size:4},{steps:4,micro_batch_size:2}]"
    run = TinyRun(tmp_path / "run", (AUTO, phases))
    assert [phase.micro_batch_size for phase in run.trainer().setup.plan.phases] == [8, 4, 2]  # this machine has room for all
    moments = 8 * sum(weight.numel() for weight in run.trainer().state.learner.parameters())
    monkeypatch.setattr(micro_batches.memory, "available", lambda device: int((5.5 * 2**20 + moments) / 0.9))
    monkeypatch.setattr(micro_batches._Trial, "taken_by", lambda trial, size: size * 2**20)
    assert [phase.micro_batch_size for phase in run.trainer().setup.plan.phases] == [5, 4, 2]


def test_a_phase_that_predicts_more_has_a_number_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    phases = "trainer.phases=[{steps:4},{steps:4,objective:{mask_probability:0.4}},{steps:4}]"
    sizes = iter([8, 3])
    monkeypatch.setattr(micro_batches, "_fitting", lambda *_: next(sizes))
    run = TinyRun(tmp_path / "run", (AUTO, phases))
    assert [phase.micro_batch_size for phase in run.trainer().setup.plan.phases] == [8, 3, 8]


def test_what_is_no_size() -> None:
    for value in ("0", "automatic", "-1", "true"):
        with pytest.raises(SettingsErrors, match="micro_batch_size must be a whole number from 1 to") as caught:
            pretrain_settings(compose([f"trainer.micro_batch_size={value}"]))
        assert len(caught.value.errors) == 1


@pytest.mark.parametrize(
    ("change", "kept"),
    [
        ({}, [3]),
        ({RESOLVED: {"processes": 2, "device": "cpu", MICRO_BATCHES: [3]}}, None),
        ({RESOLVED: {"processes": 1, "device": "cuda", MICRO_BATCHES: [3]}}, None),
        ({"trainer": {"activation_checkpointing": True}}, None),
        ({RESOLVED: {"processes": 1, "device": "cpu", MICRO_BATCHES: ["3"]}}, None),
        ({RESOLVED: None, "trainer": 3}, None),
    ],
)
def test_another_machine_finds_out_anew(change: dict[str, Any], kept: list[int] | None) -> None:
    """What was found out for other processes, another device or more memory for each row need not fit."""
    config = {RESOLVED: {"processes": 1, "device": "cpu", MICRO_BATCHES: [3]}, "trainer": {"activation_checkpointing": False}}
    settings = pretrain_settings(compose([AUTO]))
    assert sizes_before({**config, **change}, settings, SimpleNamespace(size=1, device=torch.device("cpu"))) == kept
