"""What cannot fit into memory is refused before it is built, by the start of a run as by ``check``."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.tiny_run import TinyRun

from plmtrain import limits
from plmtrain.errors import MemoryExhausted
from plmtrain.runs import assembly
from plmtrain.runs.memory_need import require_memory
from plmtrain.training import launch, memory


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        (("model.width=65536", "model.heads=64", "model.feed_forward=262144", "model.layers=24"), ("size=", "model.layers")),
        (
            ("trainer.batch_size=1048576", "model.width=4096", "model.layers=48"),
            ("trainer.micro_batch_size", "trainer.batch_size"),
        ),
    ],
)
def test_a_run_that_no_machine_has_room_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overrides: tuple[str, ...], named: tuple[str, ...]
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("built before it was refused")

    monkeypatch.setattr(assembly, "build_learner", never)
    monkeypatch.setattr(memory, "available", lambda device: 2**40)  # more than the machines that run these tests have
    with pytest.raises(MemoryExhausted, match="at least") as caught:
        TinyRun(tmp_path / "run", overrides).trainer()
    assert all(name in caught.value.remedy for name in named)


@pytest.mark.parametrize(("room", "fits"), [(1.0, True), (0.99, False)])
def test_the_need_is_that_of_weights_gradients_moments_and_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: float, fits: bool
) -> None:
    """Counted by hand for rows of 14 tokens: ids of 8 bytes, and a hidden state of 16 half-precision numbers for each block."""
    run = TinyRun(tmp_path / "run")
    learner = run.trainer().state.learner
    need = 16 * sum(weight.numel() for weight in learner.parameters()) + 8 * 14 * (8 + 2 * 16 * 2)
    monkeypatch.setattr(memory, "available", lambda device: int(room * need))
    if fits:
        run.trainer()
    else:
        with pytest.raises(MemoryExhausted):
            run.trainer()


@pytest.mark.parametrize(("holders", "times"), [(1, 8), (2, 4), (4, 2), (8, 2)])
def test_processes_that_share_a_copy_need_less(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, holders: int, times: int) -> None:
    """Two on this machine: by hand four times the weights each, for gradients and two moments, or their share of that; but each
    loads them all once."""
    run = TinyRun(tmp_path / "run", ("launch.processes=2",))
    trainer = run.trainer()
    learner, (phase,) = trainer.state.learner, trainer.setup.plan.phases
    size = sum(4 * weight.numel() for weight in learner.parameters())
    rows = 2 * (4 * 14 * 8 + 4 * 14 * 16 * 2 * 2)

    def require(available: int) -> None:
        monkeypatch.setattr(memory, "available", lambda device: available)
        require_memory(run.settings, learner, trainer.setup.programs[0], [phase], trainer.setup.group.device, holders)

    require(times * size + rows)
    with pytest.raises(MemoryExhausted) as caught:
        require(times * size + rows - 1)
    assert ("trainer.sharding=full" in caught.value.remedy) == (holders == 1)


@pytest.mark.parametrize(("spare", "fitting"), [(0, 3), (-1, 2)])
def test_the_micro_batch_that_fits_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spare: int, fitting: int) -> None:
    """By hand: beside the weights and the ids of 4,096 rows there is room for the hidden states of three rows, or a byte less."""
    learner = TinyRun(tmp_path / "one").trainer().state.learner
    need = 16 * sum(weight.numel() for weight in learner.parameters()) + 4096 * 14 * 8 + 3 * 14 * 16 * 2 * 2
    monkeypatch.setattr(memory, "available", lambda device: need + spare)
    with pytest.raises(MemoryExhausted) as caught:
        TinyRun(tmp_path / "run", ("trainer.batch_size=4096", "trainer.micro_batch_size=4096")).trainer()
    assert f"trainer.micro_batch_size={fitting} or less" in caught.value.remedy


def test_processes_that_no_machine_has_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "memory", lambda: 8 * 2**30)
    launch.require_room(8)
    with pytest.raises(MemoryExhausted, match="1,000 processes"):
        launch.launch_processes(["pretrain"], 1000)
