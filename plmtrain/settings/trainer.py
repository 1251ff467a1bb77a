"""The trainer: how long, how much at a time, how precisely, and what is written meanwhile."""

from __future__ import annotations

import re
from itertools import accumulate
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from plmtrain.settings.base import MOST_PLACES, Settings, Texts
from plmtrain.settings.models.base import MOST_LAYERS

MOST_ROWS = 2**20
"""The most rows in a step: thirty times the largest published batch (You et al. 2020: 32,768)."""

WantedPrecision = Literal["auto", "fp32", "bf16", "fp16"]
"""The formats of matrix products; ``auto`` for the device's."""

AUTO = "auto"
"""The micro-batch that is found out before a run."""

Sharding = Literal["none", "full", "hybrid"]
"""How weights, gradients and moments are divided: every process has them all; all processes hold one copy; each machine's do."""

EMBEDDINGS = "embeddings"
"""The name of the embeddings in ``trainer.freeze``."""

_LAYERS = re.compile(r"layer\.(\d{1,4})(?:\.\.(\d{1,4}))?")


def frozen_layers(name: str) -> range:
    """Return the numbers of the layers that an entry of ``trainer.freeze`` names; none for other entries."""
    match = _LAYERS.fullmatch(name)
    return range(int(match[1]), int(match[2] or match[1]) + 1) if match else range(0)


class PhaseSettings(Settings):
    """A part of a run with its own shape; keys that it omits are as in the trainer."""

    steps: int | None = Field(None, gt=0)
    """The number of its optimiser steps; give this or ``share``."""
    share: float | None = Field(None, gt=0, le=1)
    """Its share of the run's steps, so that a recipe fits a run of any length."""
    sequence_length: int | None = Field(None, gt=0, le=MOST_PLACES)
    batch_size: int | None = Field(None, gt=0, le=MOST_ROWS)
    token_factor: float | None = Field(None, gt=0, le=1024)
    """The tokens of a step, as a multiple of the trainer's ``batch_size`` times its ``sequence_length``; the number of rows that
    comes nearest. With 1 a phase of shorter rows has more of them, and as many tokens in a step. Give this or ``batch_size``."""
    micro_batch_size: int | None = Field(None, gt=0, le=MOST_ROWS)
    dropout: bool = True
    """Whether the model's dropout is on (Lewis et al. 2020, section 5.1: off in the last tenth of the steps)."""
    objective: dict[str, Any] = Field(default_factory=dict)
    """Settings of the objective that differ in this phase: all but those that decide which parameters exist. They include the
    shares of a mixture, so that a run can go from one objective to another."""

    @model_validator(mode="after")
    def _one_size(self) -> PhaseSettings:
        if self.batch_size is not None and self.token_factor is not None:
            raise ValueError("batch_size and token_factor both give the rows of a step: omit one")
        return self


class TrainerSettings(Settings):
    """The trainer."""

    steps: int = Field(1000, gt=0)
    """Optimiser steps in all; with ``epochs`` they are computed once the rows are counted, and with ``hours`` planned once the
    speed of steps is measured."""
    epochs: float | None = Field(None, gt=0, le=10**6)
    """Passes over the rows."""
    hours: float | None = Field(None, gt=0, le=10**5)
    """Hours of training, with its validations and checkpoints, over all resumes: the schedule and the phases fit into them."""
    batch_size: int = Field(32, gt=0, le=MOST_ROWS)
    """Sequences in a step, over all processes and micro-batches."""
    micro_batch_size: Annotated[int, Field(gt=0, le=MOST_ROWS)] | Literal["auto"] | None = None
    """Sequences that one process takes at a time; all of its share if omitted, as many as fit into memory with ``auto``, which
    is found out before the first step. It changes memory, and the result only by dropout, whose masks are drawn for each."""
    activation_checkpointing: bool = False
    """Whether blocks keep only their inputs for the backward pass, and are computed again in it: less memory, more time, the same
    result."""
    sharding: Sharding = "none"
    """Whether several processes divide the weights, gradients and moments among them: all processes, or those of each machine."""
    sequence_length: int = Field(128, gt=2, le=MOST_PLACES)
    """Tokens in a sequence, special ones included."""
    length_window: int = Field(1, gt=0, le=4096)
    """Steps whose rows are drawn together and sorted by length."""
    phases: tuple[PhaseSettings, ...] = ()
    """Parts of the run with other shapes, in order; their steps add up to ``steps``, or their shares to one."""
    save_every: int = Field(200, gt=0)
    """Steps between checkpoints; the last step is always saved."""
    keep: int = Field(2, gt=0)
    """Newest checkpoints that are kept."""
    milestones: tuple[Annotated[int, Field(gt=0)], ...] = ()
    """Steps after which a checkpoint is saved, and kept for ever; the folder of one can be used like a run."""
    token_milestones: tuple[Annotated[int, Field(gt=0)], ...] = ()
    """Numbers of tokens: the checkpoint of the step in which so many are first read is saved, and kept like a milestone."""
    evaluate_every: int = Field(200, gt=0)
    """Steps between validations; the last step is always validated."""
    evaluate_batches: int | None = Field(None, gt=0)
    """Batches in a validation; all of the held-out text if omitted."""
    patience: int | None = Field(None, gt=0)
    """Stop after this many validations without a better loss, or a better metric of the task; null to train to the end."""
    ema: float | None = Field(None, gt=0, lt=1)
    """The share that a step keeps of the weights' moving average, such as 0.999; the average is validated, and is the result."""
    start: Literal["random", "counted"] = "random"
    """Where neither ``init`` nor ``teacher`` gives weights, these begin at random, or with what is counted in the text."""
    freeze: Texts = ()
    """Parts of the backbone that are not trained: ``embeddings``, ``layer.N``, or the layers from N to M as ``layer.N..M``,
    counted from 0, an encoder's before its decoder's."""
    reinitialise_layers: int = Field(0, ge=0, le=MOST_LAYERS)
    """The number of last layers that start from new random weights instead of those of ``init``, and with them the pooler in the
    head of a task; a decoder's where there is one (Zhang et al. 2021, section 5)."""
    log_every: int = Field(20, gt=0)
    """Steps between lines in metrics.jsonl."""
    precision: WantedPrecision = "auto"
    """auto: bf16 where the device multiplies it in hardware (on a CPU with AMX or AVX-512 BF16), else fp32."""
    compile: bool = False
    """Whether the backbone's blocks are compiled."""
    workers: int | None = Field(None, ge=0, le=256)
    """Processes that read and corrupt rows beside the training; with 0 the training process does so. If omitted, two for a GPU,
    which would wait for the rows of a step otherwise, and none for a CPU, whose cores are busy."""
    threads: int | None = Field(None, gt=0, le=1024)
    """Threads of a training process on a CPU; its share of the cores if omitted."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    on_nonfinite: Literal["stop", "skip"] = "stop"
    """On a loss or gradient that is not finite: stop the run before the update, or skip that update."""
    max_skipped: int = Field(10, gt=0)
    """The run stops after this many consecutive skipped updates."""

    @field_validator("micro_batch_size", mode="before")
    @classmethod
    def _is_a_size(cls, value: Any) -> Any:
        """Refuse what is neither a number nor a word here: pydantic would report an error for each part of the union."""
        if value in (None, AUTO) or (isinstance(value, int) and not isinstance(value, bool) and 0 < value <= MOST_ROWS):
            return value
        wanted = f"a whole number from 1 to {MOST_ROWS:,}, auto or null"
        raise ValueError(f"micro_batch_size must be {wanted}, and is {value!r}: give it one of these")

    @field_validator("freeze")
    @classmethod
    def _are_parts(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name != EMBEDDINGS and not frozen_layers(name):
                raise ValueError(f"'{name}' is no part of a model: write embeddings, layer.0 or layer.0..3")
        return names

    @model_validator(mode="after")
    def _consistent(self) -> TrainerSettings:
        if self.phases and self.epochs is not None:
            raise ValueError("phases are counted in steps: omit epochs")
        if self.hours is not None and self.epochs is not None:
            raise ValueError("hours and epochs both give the length of the run: omit one")
        if self.hours is not None and any(phase.share is None for phase in self.phases):
            raise ValueError(
                "phases by steps need a number of steps, and how many hours hold is not known before: give each phase a share"
            )
        if self.epochs is None and self.hours is None and (late := [step for step in self.milestones if step > self.steps]):
            raise ValueError(f"milestones has step {late[0]}, but steps is {self.steps}")
        _check_lengths(self.phases, None if self.hours is not None else self.steps)
        return self

    def length_in(self, phase: PhaseSettings) -> int:
        """Return the tokens of a sequence in a phase."""
        return phase.sequence_length or self.sequence_length

    def batch_in(self, phase: PhaseSettings) -> int:
        """Return the sequences of a step in a phase, over all processes."""
        if phase.token_factor is None:
            return phase.batch_size or self.batch_size
        return max(1, round(phase.token_factor * self.batch_size * self.sequence_length / self.length_in(phase)))

    def micro_batch_in(self, phase: PhaseSettings) -> int | None:
        """Return the sequences that one process takes at a time in a phase; None for all of its share, or if their number is not
        found out yet."""
        own = self.micro_batch_size
        return phase.micro_batch_size or (own if isinstance(own, int) else None)

    def fits_memory_in(self, phase: PhaseSettings) -> bool:
        """Whether the sequences that one process takes at a time in a phase are as many as fit into memory."""
        return self.micro_batch_size == AUTO and phase.micro_batch_size is None

    @property
    def phase_steps(self) -> tuple[int, ...]:
        """Optimiser steps of each phase; of the whole run where there are none."""
        return _phase_steps(self.phases, self.steps) if self.phases else (self.steps,)


def _check_lengths(phases: tuple[PhaseSettings, ...], steps: int | None) -> None:
    """Check that the phases add up to the run's steps exactly, and that each has at least one; as far as the steps are known."""
    for index, phase in enumerate(phases):
        if (phase.steps is None) == (phase.share is None):
            raise ValueError(f"phase {index} needs either steps or share")
        if (phase.steps is None) != (phases[0].steps is None):
            raise ValueError("phases must all be given by steps, or all by share")
    if not phases:
        return
    if phases[0].share is None:
        if (total := sum(phase.steps or 0 for phase in phases)) != steps:
            raise ValueError(f"the steps of phases add up to {total}, but steps is {steps}")
    elif abs((whole := sum(phase.share or 0.0 for phase in phases)) - 1) > 1e-6:
        raise ValueError(f"the shares of phases add up to {whole:g} instead of 1")
    elif steps is not None and min(_phase_steps(phases, steps)) < 1:
        raise ValueError(f"{steps} steps are too few for each of {len(phases)} phases to have one")


def _phase_steps(phases: tuple[PhaseSettings, ...], steps: int) -> tuple[int, ...]:
    """Return the optimiser steps of each phase. The ends are rounded, not the lengths, so that they always add up."""
    if phases[0].share is None:
        return tuple(phase.steps or 0 for phase in phases)
    ends = [round(steps * part) for part in accumulate(phase.share or 0.0 for phase in phases)]
    return tuple(end - start for start, end in zip([0, *ends], ends, strict=False))
