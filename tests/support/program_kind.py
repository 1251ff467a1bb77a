"""How an objective or a task is run in a test; the rows are in ``support.every_program``."""

from __future__ import annotations

from atexit import register
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any

from support.finished_run import finished_run
from support.memory_rows import vocabulary_of
from support.tiny_run import SHAPE, TinyRun, settings_of
from support.tiny_task import examples

from plmtrain.settings.composing.folders import section
from plmtrain.text.tokenizer import Tokenizer

Records = Sequence[Mapping[str, float]]


def _same(records: Records) -> None:
    """Nothing is claimed of the run's numbers."""


@dataclass(frozen=True)
class Kind:
    """How an objective or a task is run in a test.

    Args:
        system: the model and the objective, as overrides.
        second: what the second of two phases changes of the objective; None for a run of one phase.
        phases: all of them, where there are others than these two.
        task: builds the program of a task from the model's settings and the dropout of its head.
        teacher: the model and the objective of its teacher, as overrides; none for no teacher.
        examples: makes so many rows for the task, of at most so many tokens, from a seed.
        points: where the run is killed, in the order in which it comes there.
        logged: what its records must name: else a part of the objective was idle.
        carry: the tensors that go on from step to step.
        claims: what holds of the records of a run in phases.
        unseen: a part of the name of a parameter that changes no loss, so that its gradient is rounding alone.
    """

    system: Sequence[str]
    second: str | None = ""
    phases: str | None = None
    task: Callable[..., Any] | None = None
    examples: Callable[..., Any] = examples
    teacher: Sequence[str] = ()
    points: Sequence[str] = ("train.forward@5", "train.accum@6", "save.rename@8")
    logged: Sequence[str] = ()
    carry: Sequence[str] = ()
    claims: Callable[[Records], None] = _same
    unseen: str = ""

    @property
    def in_phases(self) -> tuple[str, ...]:
        """The overrides that part the run in phases of other lengths, batches and settings."""
        if self.phases is not None:
            return (f"trainer.phases={self.phases}",)
        if self.second is None:
            return ()
        changed = f",objective:{{{self.second}}}" if self.second else ""
        return (f"trainer.phases=[{{steps:5}},{{steps:7,sequence_length:20,batch_size:4{changed}}}]",)

    @property
    def no_dropout(self) -> tuple[str, ...]:
        """The overrides that switch dropout off."""
        places = ("dropout",) if self.system[1] in TINY_LSTM else ("dropout", "attention_dropout")
        return tuple(f"model.{place}=0" for place in places)

    @property
    def type(self) -> str:
        """The type of the objective, or of the task."""
        settings = settings_of(*self.system, *SHAPE)
        return str((self.task(settings.model).settings if self.task else settings.objective).type)

    def run(self, path: Path, *overrides: str) -> TinyRun:
        """A run in a folder: of 22 rows or more an epoch, so that most epochs end inside a step."""
        if self.teacher and self.task is None:
            folder = teacher_folder(self.teacher)
            system, tokenizer = (*self.system, f"teacher={folder}"), Tokenizer.load(folder / "tokenizer")
            return TinyRun(path, overrides, system, tokenizer.vocabulary, epoch=22, tokenizer_digest=tokenizer.digest)
        settings = settings_of(*self.system, *SHAPE, *overrides)
        if self.task is None:
            return TinyRun(path, overrides, self.system, vocabulary_of(settings.tokenizer.family), epoch=22)
        trained = self.task(settings.model, dropout=None if settings.model.dropout else 0.0)
        most = trained.row_shape(settings.trainer.sequence_length).length
        rows, held_out = self.examples(37, most), self.examples(11, most, seed=1)
        run = TinyRun(path, overrides, self.system, rows=rows, held_out=held_out, program=trained)
        if not self.teacher:
            return run
        folder = teacher_folder(self.teacher)
        tokenizer = Tokenizer.load(folder / "tokenizer")
        return replace(run, vocabulary=tokenizer.vocabulary, tokenizer_digest=tokenizer.digest, teacher=str(folder))


TINY = "model.layers=2 model.width=16 model.heads=2 model.feed_forward=32".split()
TINY_LSTM = "model.cells=24 model.projection=8 model.character_width=4 model.filters=[[1,4],[2,8],[3,4]] model.highways=1".split()


def tiny_shape(model: str) -> list[str]:
    """The overrides that make a model as small as a test needs it."""
    return TINY_LSTM if section("model", model)["type"] == "bilstm" else TINY


@cache
def teacher_folder(system: Sequence[str]) -> Path:
    """A finished run with random weights, for all tests of this process and its children."""
    folder = Path(mkdtemp(prefix="plmtrain-teacher-"))
    register(rmtree, folder, ignore_errors=True)
    finished_run(folder, system, ("trainer.sequence_length=32",))
    return folder
