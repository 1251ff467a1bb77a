"""A run small enough to be taken hundreds of times: two layers, rows in memory, dropout on."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from plmtrain import backbones, faults, keyed_random, objectives, stopping
from plmtrain.data.loading.order import Phase, plan_phases
from plmtrain.data.rows.rows import PartedRows, Rows
from plmtrain.errors import PlmtrainError
from plmtrain.optim import optimizer
from plmtrain.settings.composing.compose import compose
from plmtrain.settings.decode import pretrain_settings
from plmtrain.text.vocabulary import Vocabulary
from plmtrain.training.checkpoint_manifest import Identity
from plmtrain.training.group import Group
from plmtrain.training.metrics_log import MetricsLog
from plmtrain.training.precision import Precision
from plmtrain.training.progress import Progress
from plmtrain.training.run_folder import RunFolder
from plmtrain.training.state import TrainingState
from plmtrain.training.trainer import Setup, Trainer

VOCABULARY = Vocabulary(64, {"pad": 0, "unk": 1, "cls": 2, "sep": 3, "mask": 4}, (0, 1, 2, 3, 4))

SHAPE = (
    "trainer.sequence_length=14 trainer.batch_size=8 trainer.log_every=1 trainer.evaluate_every=5 trainer.save_every=4 "
    "trainer.steps=12 trainer.precision=fp32 trainer.threads=1 optimizer.lr=0.01"
).split()

TINY_BERT = (
    "model=bert model.layers=2 model.width=16 model.heads=2 model.feed_forward=32 model.positions=32 objective=dynamic_mlm"
).split()
"""The model and objective of a run that names no others."""


class MemoryRows:
    """Rows of random tokens, most of them frequent."""

    def __init__(self, count: int, length: int, seed: int = 0) -> None:
        self.tokens = 5 + np.random.default_rng(seed).zipf(1.5, (count, length)) % 59

    def __len__(self) -> int:
        return len(self.tokens)

    def fetch(self, indices: np.ndarray) -> Rows:
        tokens = self.tokens[indices].astype(np.int64)
        return Rows(
            tokens=tokens,
            lengths=np.full(len(tokens), tokens.shape[1]),
            word_starts=np.ones(tokens.shape, np.bool_),
            text=self.tokens.reshape(-1).astype(np.uint16),
        )


def memory_rows(program: Any, phase: Phase, count: int, seed: int = 0) -> MemoryRows | PartedRows:
    """Rows for a program; each part of one has another number of them."""
    rows = {
        part.name: MemoryRows(count + 7 * turn, part.program.row_shape(phase.sequence_length).length, seed)
        for turn, part in enumerate(program.parts.members)
    }
    return rows[None] if None in rows else PartedRows(rows)


class Recorder:
    """Keeps what a reporter is told, as a run does."""

    def __init__(self, log: MetricsLog) -> None:
        self.log = log
        self.incidents: list[tuple[int, Mapping[str, object]]] = []
        self.notes: list[str] = []

    def step(self, done: int) -> None: ...

    def record(self, record: Mapping[str, float]) -> None:
        self.log.write(record)

    def incident(self, step: int, facts: Mapping[str, object]) -> None:
        self.incidents.append((step, facts))

    def note(self, text: str) -> None:
        self.notes.append(text)


@dataclass
class TinyRun:
    """A run in a folder; ``go`` goes on from its newest checkpoint."""

    path: Path
    overrides: tuple[str, ...] = ()
    system: Sequence[str] = tuple(TINY_BERT)
    vocabulary: Vocabulary = VOCABULARY
    rows: Any = None
    held_out: Any = None
    precision: Precision = "fp32"
    program: Any = None
    recorder: Recorder = field(init=False)

    def trainer(self) -> Trainer:
        torch.set_num_threads(1)  # threads of a pool do not survive a fork
        settings = pretrain_settings(compose([*self.system, *SHAPE, *self.overrides]))
        phases = plan_phases(settings.trainer)
        folder = RunFolder(self.path).create()
        group = Group("cpu", 60, 1)
        programs = [
            self.program or objectives.build(settings.objective.changed(phase.objective), settings.model, self.vocabulary)
            for phase in phases
        ]
        torch.manual_seed(keyed_random.scalar("initial weights", settings.seed))
        learner = programs[0].build(lambda model: backbones.build(model, self.vocabulary.size)).train()
        checkpoints = folder.checkpoints(2, Identity("tiny"))
        if group.is_main:
            checkpoints.clear_leftovers()
        group.wait()
        state = TrainingState(learner, optimizer.build(learner, settings.optimizer), {})
        progress = Progress()
        if (checkpoint := checkpoints.newest()) is not None:
            state.restore(checkpoint, group)
            progress = checkpoint.progress
        group.wait()
        metrics = folder.metrics()
        if group.is_main:
            metrics.keep_until(progress.step)
        self.recorder = Recorder(metrics)
        setup = Setup(
            settings=settings,
            plan=phases,
            programs=programs,
            rows=[
                self.rows(program, phase) if callable(self.rows) else self.rows or memory_rows(program, phase, 40)
                for program, phase in zip(programs, phases, strict=True)
            ],
            held_out=self.held_out or memory_rows(programs[-1], phases[-1], 10, seed=1),
            unigram=np.ones(self.vocabulary.size),
            precision=self.precision,
            group=group,
            checkpoints=checkpoints,
            reporter=self.recorder if group.is_main else None,
        )
        return Trainer(setup, state, progress)

    def go(self) -> Trainer:
        trainer = self.trainer()
        trainer.run()
        return trainer

    def digest(self) -> str:
        """Of all that the run came to: weights, moments, carry, progress, and every number that was logged."""
        checkpoint = RunFolder(self.path).checkpoints().newest()
        assert checkpoint is not None
        whole = hashlib.sha256()
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
        clock = ("seconds", "tokens_per_second")
        return [
            {key: value for key, value in record.items() if key not in clock}
            for record in RunFolder(self.path).metrics().records()
        ]


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
                action()
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
    for child in children:
        child.join(120)
    hanging = [child for child in children if child.exitcode is None]
    for child in hanging:
        child.kill()
    assert not hanging, "a child hangs"
    return [child.exitcode or 0 for child in children]
