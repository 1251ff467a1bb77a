"""The Trainer of transformers beside plmtrain's steps, from the side of ``plmtrain bench``."""

from __future__ import annotations

import json
import select
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save_file

from plmtrain import child_processes, stopping
from plmtrain.commands.bench import transformers_trainer
from plmtrain.commands.bench.peer_rows import Column, collator_for, columns_for
from plmtrain.commands.bench.report import PeerSpeed
from plmtrain.commands.bench.transformers_trainer import STEP, Job
from plmtrain.data.loading.order import Order, Phase
from plmtrain.data.rows.rows import RowSource
from plmtrain.errors import PlmtrainError, SettingsError
from plmtrain.files import read_text
from plmtrain.interop import hugging_face
from plmtrain.interop.model import Model
from plmtrain.programs.learner import Learner
from plmtrain.programs.parts import Part
from plmtrain.programs.program import AnyProgram, Trainable
from plmtrain.runs.material import Material
from plmtrain.training.costs import WARM_UP
from plmtrain.training.precision import Precision

LIBRARY = "transformers"

PROGRAM = (sys.executable, "-m", transformers_trainer.__name__)
"""The command of the peer's process."""

ROWS, LOG = "rows.safetensors", "output.txt"
"""The files of the peer's rows, and of what it prints."""

_OTHER_MODEL = f"omit against={LIBRARY}, or compare another model"

_POLL = 0.2
"""Seconds of waiting for an answer of the peer between two looks for a request to stop."""


def require_peer(programs: Sequence[Trainable]) -> None:
    """Refuse a comparison that cannot be made, before anything is measured.

    Args:
        programs: of the run.

    Raises:
        SettingsError: if the library is not installed, or has nothing like the run.
    """
    if find_spec(LIBRARY) is None:
        raise SettingsError(f"{LIBRARY} is not installed", f"against={LIBRARY}", "pip install plmtrain[bench], or omit against=")
    for program in programs:
        if len(program.parts.members) > 1:
            what = f"transformers' Trainer trains one objective, and objective={program.settings.name} mixes several"
            raise SettingsError(what, f"against={LIBRARY}", "compare one objective, or omit against=")
        collator_for(program.parts.main.program)


class Peer:
    """The Trainer of transformers in a process of its own, so that neither disturbs the other's memory and threads.

    Args:
        material: of the run.
        precision: of matrix products.
        device: of both.
        folder: for the files that its process reads and writes.
        process: reads and writes lines.
    """

    def __init__(
        self, material: Material, precision: Precision, device: torch.device, folder: Path, process: subprocess.Popen[str]
    ) -> None:
        self._material, self._precision, self._device = material, precision, device
        self._folder, self._process = folder, process
        self._steps: list[Mapping[str, Any]] = []

    def begin(self, part: Part, rows: RowSource, phase: Phase, steps: int) -> None:
        """Build the model and the Trainer for the first steps of a phase.

        Args:
            part: what they train.
            rows: of the phase.
            phase: the shape of the steps.
            steps: how many will be taken at most.
        """
        settings, path = self._material.settings, self._folder / ROWS
        write_rows(path, part.program, rows, phase, settings.seed, steps)
        job = Job(
            folder=str(self._folder),
            rows=str(path),
            collator=collator_for(part.program),
            hidden=getattr(part.program.settings, "mask_probability", 0.0),
            batch_size=phase.batch_size,
            micro_batch_size=micro_batch_of(phase),
            steps=steps,
            device=self._device.type,
            threads=torch.get_num_threads(),
            precision=self._precision,
            learning_rate=settings.optimizer.lr,
            recomputed=settings.trainer.activation_checkpointing,
            compiled=settings.trainer.compile,
        )
        self._say(job.as_line())
        self._hear()
        self._steps = []

    def step(self) -> None:
        """Take one step."""
        self._say(STEP)
        self._steps.append(self._hear())

    def end(self) -> PeerSpeed:
        """End the training, and return its speed; as of plmtrain, the first step does not count."""
        self._say("end")
        counted = self._steps[WARM_UP:]
        peaks = [step["peak"] for step in counted]
        return PeerSpeed(
            statistics.median(step["seconds"] for step in counted), None if None in peaks else max(map(int, peaks), default=None)
        )

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._ended() from None

    def _hear(self) -> Mapping[str, Any]:
        answers = self._process.stdout
        assert answers is not None
        # Nothing of an answer is buffered here: it is one line, and the next is not asked for yet.
        while not select.select([answers], [], [], _POLL)[0]:
            stopping.safe_point()
        if not (line := answers.readline()):
            raise self._ended()
        answer: Mapping[str, Any] = json.loads(line)
        return answer

    def _ended(self) -> PlmtrainError:
        lines: list[str] = []
        with suppress(OSError, UnicodeDecodeError):
            lines = read_text(self._folder / LOG).strip().splitlines()
        code = self._process.wait()
        return PlmtrainError(
            f"the process of transformers' Trainer ended with {code}",
            lines[-1][:500] if lines else f"against={LIBRARY}",
            "see whether this version of transformers trains such a model, or omit against=",
        )


@contextmanager
def beside(material: Material, learner: Learner, precision: Precision, device: torch.device) -> Iterator[Peer]:
    """Start the process of the peer, and end it.

    Args:
        material: of the run.
        learner: the run's, with the weights that the peer starts from, too.
        precision: of matrix products.
        device: of both.

    Raises:
        SettingsError: if transformers has no class that computes this model.
    """
    with tempfile.TemporaryDirectory(prefix="plmtrain-bench-") as name, (Path(name) / LOG).open("w") as output:
        publish(Path(name), learner, material)
        with stopping.held():
            process = subprocess.Popen(
                PROGRAM,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                env=environment_of(device),
                text=True,
            )
        try:
            yield Peer(material, precision, device, Path(name), process)
        finally:
            process.kill()
            process.communicate()


def environment_of(device: torch.device) -> Mapping[str, str]:
    """Return the environment of the peer's process. Of several GPUs it sees the first alone, which is this process's: the Trainer
    would take a batch on each."""
    own = {**child_processes.environment(), "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    if device.type == "cuda":
        own["CUDA_VISIBLE_DEVICES"] = own.get("CUDA_VISIBLE_DEVICES", "").split(",")[0].strip() or "0"
    return own


def publish(folder: Path, learner: Learner, material: Material) -> None:
    """Write the model and the tokenizer where transformers' classes read them.

    Args:
        folder: for the files of both.
        learner: the model with its weights.
        material: of the run.

    Raises:
        SettingsError: if transformers has no class that computes this model and its heads.
    """
    roles = material.tokenizer.vocabulary.roles
    try:
        saved = hugging_face.save(folder, Model.of(next(iter(learner.models().values()))), roles)
    except SettingsError as error:
        raise SettingsError(error.what, error.where, _OTHER_MODEL) from None
    if saved.left_out or saved.beside:
        what = f"transformers has no class with the heads of model={material.settings.model.name}, only {saved.architecture}"
        raise SettingsError(what, f"against={LIBRARY}", _OTHER_MODEL)
    material.tokenizer.save(folder)


def micro_batch_of(phase: Phase) -> int:
    """Return the rows that both take at a time.

    Raises:
        SettingsError: if the batch does not consist of equal micro-batches.
    """
    size = min(phase.micro_batch_size or phase.batch_size, phase.batch_size)
    if phase.batch_size % size:
        what = f"transformers' Trainer takes equal micro-batches, and {phase.batch_size} rows are not a multiple of {size}"
        raise SettingsError(what, f"against={LIBRARY}", f"choose a trainer.micro_batch_size that divides {phase.batch_size}")
    return size


def write_rows(path: Path, program: AnyProgram, rows: RowSource, phase: Phase, seed: int, steps: int) -> None:
    """Write the rows of the first steps in the order in which they are read.

    Args:
        path: of the file.
        program: what the steps train.
        rows: of the phase.
        phase: the phase, whose first steps they are.
        seed: the run's.
        steps: how many.
    """
    phase = replace(phase, index=0, first_step=0, steps=steps, samples_before=0)
    order = Order(seed, [phase])
    made = []
    for step in range(steps):
        keys = order.samples_of(step, rows)
        made.append(columns_for(program, rows.fetch(keys.samples), keys))
    arrays: dict[str, NDArray[np.int64]] = {}
    for name in made[0]:
        columns = [columns[name] for columns in made]
        arrays[name] = _stacked(columns)
        if columns[0].lengths is not None:
            arrays[f"{name}.lengths"] = np.concatenate([column.lengths for column in columns if column.lengths is not None])
    save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, path)


def _stacked(columns: Sequence[Column]) -> NDArray[np.int64]:
    """Put the rows of all steps below one another, as wide as the widest."""
    if columns[0].lengths is None:
        return np.concatenate([column.values for column in columns])
    width = max(column.values.shape[1] for column in columns)
    return np.concatenate([np.pad(column.values, ((0, 0), (0, width - column.values.shape[1]))) for column in columns])
