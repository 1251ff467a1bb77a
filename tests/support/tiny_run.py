"""A run small enough to be taken hundreds of times: two layers, rows in memory, dropout on."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from support import warm  # noqa: F401  (the children need it)
from support.children import wait_for
from support.memory_rows import VOCABULARY, memory_rows

from plmtrain import faults, stopping
from plmtrain.data.loading.order import Phase
from plmtrain.errors import PlmtrainError
from plmtrain.runs import assembly
from plmtrain.runs.corpus import programs_of
from plmtrain.runs.material import Material
from plmtrain.settings.composing.compose import compose
from plmtrain.settings.decode import pretrain_settings
from plmtrain.settings.run import PretrainSettings
from plmtrain.text.vocabulary import Vocabulary
from plmtrain.training.checkpoint import Checkpoint
from plmtrain.training.run_folder import RunFolder
from plmtrain.training.trainer import Trainer

SHAPE = (
    "trainer.sequence_length=14 trainer.batch_size=8 trainer.log_every=1 trainer.evaluate_every=5 trainer.save_every=4 "
    "trainer.steps=12 trainer.precision=fp32 trainer.threads=1 trainer.device=cpu launch.timeout=60 optimizer.lr=0.01"
).split()

TINY_BERT = (
    "model=bert model.layers=2 model.width=16 model.heads=2 model.feed_forward=32 model.positions=32 objective=dynamic_mlm"
).split()
"""The model and objective of a run that names no others."""


class MemoryMaterial(Material):
    """A run's data, with rows in memory and no text.

    Args:
        run: what it belongs to.
    """

    def __init__(self, run: TinyRun) -> None:
        tokenizer: Any = SimpleNamespace(vocabulary=run.vocabulary, digest=run.tokenizer_digest, save=lambda folder: None)
        super().__init__(run.settings, tokenizer, "tiny")
        self.run = run

    def unigram_losses(self) -> np.ndarray | None:
        return None if self.run.program is not None else np.ones(self.run.vocabulary.size)

    def tokenizer_findings(self) -> list[Any]:
        return []

    def programs(self, phases: Sequence[Phase]) -> list[Any]:
        if self.run.program is not None:
            return [self.run.program] * len(phases)
        return programs_of(self.run.settings, phases, self.run.vocabulary)

    def rows(self, split: str, program: Any, phase: Phase) -> Any:
        given, count, seed = (self.run.rows, self.run.epoch, 0) if split == "train" else (self.run.held_out, 10, 1)
        if callable(given):
            return given(program, phase)
        return memory_rows(program, phase, count, seed) if given is None else given

    def keep(self, folder: Path) -> None: ...

    def changes(self, folder: Path) -> list[str]:
        return []

    def repetitions(self) -> list[str]:
        return []

    def opening(self) -> str:
        return ""

    def closing(self, program: Any, learner: Any, best: float | None, measured: Mapping[str, float]) -> list[Any]:
        return []


@cache
def settings_of(*overrides: str) -> PretrainSettings:
    """Settings, composed once: children that are forked later find them."""
    return pretrain_settings(compose(overrides))


@dataclass(frozen=True)
class TinyRun:
    """A run in a folder; ``go`` goes on from its newest checkpoint.

    Args:
        path: the folder.
        overrides: settings beside those of ``system`` and ``SHAPE``.
        system: the model and the objective, as overrides.
        vocabulary: what its tokens are.
        rows, held_out: rows to train on and to validate with, or what gives them for a program and a phase; random ones if None.
        epoch: how many random rows there are to train on, where rows stand by themselves.
        program: what it trains; that of the settings if None.
        tokenizer_digest: of the tokenizer that its text would be encoded with.
        teacher: the folder of the teacher of a task; that of an objective is among the overrides.
    """

    path: Path
    overrides: tuple[str, ...] = ()
    system: Sequence[str] = tuple(TINY_BERT)
    vocabulary: Vocabulary = VOCABULARY
    rows: Any = None
    held_out: Any = None
    epoch: int = 40
    program: Any = None
    tokenizer_digest: str = "tiny"
    teacher: str | None = None
    settings: PretrainSettings = field(init=False)

    def __post_init__(self) -> None:
        settings = settings_of(*self.system, *SHAPE, *self.overrides)
        object.__setattr__(self, "settings", settings.model_copy(update={"teacher": self.teacher or settings.teacher}))
        if not self.folder.status():
            self.folder.create().write_status("preparing")  # as a command does before processes start

    def with_overrides(self, *overrides: str) -> TinyRun:
        """The same run, gone on with under other settings."""
        return replace(self, overrides=overrides)

    @property
    def folder(self) -> RunFolder:
        """All that there is of it."""
        return RunFolder(self.path)

    @property
    def checkpoint(self) -> Checkpoint:
        """The newest one."""
        newest = self.folder.checkpoints().newest()
        assert newest is not None
        return newest

    def trainer(self) -> Trainer:
        """What ``go`` trains it with."""
        torch.set_num_threads(1)  # threads of a pool do not survive a fork
        return assembly.assemble(MemoryMaterial(self), self.folder, "tiny")

    def go(self) -> Trainer:
        """Train from the newest checkpoint to the end."""
        torch.set_num_threads(1)
        return assembly.train(MemoryMaterial(self), self.folder, "tiny")

    def digest(self) -> str:
        """Of all that the run came to: weights, moments, carry, progress, and every number that was logged."""
        checkpoint, whole = self.checkpoint, hashlib.sha256()
        for group in ("model", "optimizer", "carry"):
            for name, tensor in sorted(checkpoint.load(group).items()):
                whole.update(name.encode())
                whole.update(tensor.numpy().tobytes())
        whole.update(checkpoint.progress.to_json().encode())
        for record in self.records():
            whole.update(json.dumps(record, sort_keys=True).encode())
        return whole.hexdigest()

    def records(self) -> list[dict[str, float]]:
        """What was logged, without the times."""
        clock = ("seconds", "tokens_per_second", "machine_share")
        return [{key: value for key, value in record.items() if key not in clock} for record in self.folder.metrics().records()]


def in_child(action: Callable[[], object], fault: str = "") -> int:
    """The exit code of a forked child that acts, with a fault planned; minus the signal's number if one killed it."""

    def act() -> None:
        faults.plan(fault)
        stopping.forget()
        stopping.watch()
        try:
            action()
        except PlmtrainError as error:
            os._exit(error.exit_code)
        os._exit(0)

    return _exit_codes([act])[0]


def in_group(action: Callable[[], object], size: int, fault: str = "", faulty_rank: int | None = None) -> list[int]:
    """The exit codes of forked children that act as a group over gloo; one of them, or all, with a fault planned."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]

    def member(rank: int) -> Callable[[], None]:
        def act() -> None:
            os.environ.update(
                MASTER_ADDR="127.0.0.1",
                MASTER_PORT=str(port),
                WORLD_SIZE=str(size),
                LOCAL_WORLD_SIZE=str(size),
                RANK=str(rank),
                LOCAL_RANK=str(rank),
            )
            faults.plan(fault if faulty_rank in (None, rank) else "")
            stopping.forget()
            stopping.watch()
            try:
                result = action()  # noqa: F841  (kept: what a forked child frees before its end may wait for the group's threads)
            except PlmtrainError as error:
                os._exit(error.exit_code)
            os._exit(0)

        return act

    return _exit_codes([member(rank) for rank in range(size)])


def _exit_codes(actions: Sequence[Callable[[], None]]) -> list[int]:
    # Accelerate's state is shared within a process: one that was made here would tell the children that they are alone.
    from accelerate.state import AcceleratorState, PartialState

    AcceleratorState._reset_state(reset_partial_state=True)
    assert PartialState._shared_state == {}
    children = [multiprocessing.get_context("fork").Process(target=action) for action in actions]
    for child in children:
        child.start()
    wait_for(children, 120)
    return [child.exitcode or 0 for child in children]
