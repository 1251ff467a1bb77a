"""The least memory that a run needs, compared with what is available, before anything is built.

``check`` and the start of a run share this, so that both refuse the same runs. It is a lower bound: what a step saves for the
backward pass besides its hidden states is only known once the step is measured, which ``check`` does.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from plmtrain import backbones
from plmtrain.data.loading.order import Phase
from plmtrain.data.rows.row_formats import MULTIPLE
from plmtrain.errors import MemoryExhausted
from plmtrain.files import size_in_words
from plmtrain.nn.initialisation import without_weights
from plmtrain.programs.learner import Learner
from plmtrain.programs.program import Trainable
from plmtrain.settings.run import RunSettings
from plmtrain.training import memory
from plmtrain.training.tensor_file import byte_size

_ID = 8
"""The bytes of a token id in a row."""
_HALF = 2
"""The bytes of a number in the lowest precision."""


def planned_learner(program: Trainable, vocabulary_size: int) -> Learner:
    """Build a learner without memory for its weights.

    Args:
        program: the run's program or mixture.
        vocabulary_size: the number of rows of the token embedding.
    """
    with without_weights():
        return program.build(lambda model: backbones.build(model, vocabulary_size))


def require_memory(
    settings: RunSettings, learner: Learner, program: Trainable, phases: Sequence[Phase], device: torch.device, holders: int
) -> None:
    """Refuse a run whose weights and rows cannot fit into the memory that is available.

    Args:
        settings: the run's settings; the processes of ``launch.processes`` share the memory of a CPU, and have a GPU each.
        learner: the run's, built or planned, frozen as requested.
        program: the run's program or mixture.
        phases: the phases of the run.
        device: the device of this process.
        holders: the number of processes that hold a copy of the weights among them.

    Raises:
        MemoryExhausted: if it does not fit.
    """
    available = memory.available(device)
    if available is None:
        return
    processes = settings.launch.processes
    sharing = processes if device.type == "cpu" else 1
    weights = sharing * _of_weights(learner, kept_beside(settings)) // holders
    if device.type == "cpu":  # each process loads the whole model before it keeps its share alone
        weights = max(weights, sharing * byte_size(dict(learner.named_parameters())))
    rows = sharing * max(_of_rows(learner, program, phase, processes) for phase in phases)
    if weights + rows <= available:
        return
    what = f"this run needs at least {size_in_words(weights + rows)} of memory, and {size_in_words(available)} are available"
    where = f"weights, gradients and moments {size_in_words(weights)}, the rows of a step {size_in_words(rows)}"
    if weights > rows:
        remedy = "choose a smaller size= or model= (model.layers, model.width), a smaller tokenizer.vocab_size"
        if processes > 1 and holders == 1:
            remedy = f"write trainer.sharding=full, or {remedy}"
    elif fitting := _fitting(learner, program, phases, processes, (available - weights) // sharing):
        less = f"write trainer.micro_batch_size={fitting} or less (with dropout, other masks; else the same result)"
        remedy = f"{less}, or lower trainer.batch_size or trainer.sequence_length"
    else:
        remedy = "lower trainer.batch_size or trainer.sequence_length"
    raise MemoryExhausted(what, where + (f", in {sharing} processes" if sharing > 1 else ""), remedy)


def kept_beside(settings: RunSettings) -> int:
    """Return how many numbers a run keeps beside each trained weight: the optimiser's moments, and an average."""
    return settings.optimizer.moments + (settings.trainer.ema is not None)


def _of_weights(learner: Learner, kept: int) -> int:
    """Return the bytes of the weights, and of a gradient and all that is kept beside each one that is trained."""
    sizes = [(weight.numel() * weight.element_size(), weight.requires_grad) for weight in learner.parameters()]
    return sum((2 + kept) * size if trained else size for size, trained in sizes)


def _fitting(learner: Learner, program: Trainable, phases: Sequence[Phase], processes: int, room: int) -> int:
    """Return the largest micro-batch whose rows fit into the room of one process in every phase; 0 if none does."""
    sizes = []
    for phase in phases:
        ids, states, most = _of_one_row(learner, program, phase, processes)
        sizes.append(min(most, (room - max(1, phase.batch_size // processes) * ids) // states))
    return max(0, min(sizes))


def _of_rows(learner: Learner, program: Trainable, phase: Phase, processes: int) -> int:
    """Return the bytes of one process's rows: the ids of a step, and the hidden states of a micro-batch after each block."""
    ids, states, micro = _of_one_row(learner, program, phase, processes)
    return max(1, phase.batch_size // processes) * ids + micro * states


def _of_one_row(learner: Learner, program: Trainable, phase: Phase, processes: int) -> tuple[int, int, int]:
    """Return the bytes of a row's ids and of its hidden states, and the number of rows in a micro-batch."""
    # Rows of a ragged program are as long as their texts, which may be short.
    length = min(MULTIPLE, phase.sequence_length) if program.parts.are_ragged else phase.sequence_length
    share = max(1, phase.batch_size // processes)
    micro = 1 if phase.fits_memory else min(share, phase.micro_batch_size or share)
    frozen = any(not weight.requires_grad for weight in learner.parameters())  # blocks below the first trained one keep nothing
    kept = 1 if frozen else len(learner.backbone.blocks())
    return length * _ID, length * kept * learner.backbone.width * _HALF, micro


def carried(programs: Sequence[Trainable], phases: Sequence[Phase]) -> int:
    """Return the maximum number of bytes of the carry of all processes."""
    return max(
        part.program.row_shape(phase.sequence_length).carry_bytes * phase.batch_size
        for program, phase in zip(programs, phases, strict=True)
        for part in program.parts.members
    )
