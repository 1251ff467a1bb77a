"""``trainer.micro_batch_size=auto``: the most rows whose forward and backward pass fit into memory at a time.

Micro-batches are tried before the first step, each twice as large as the one before, and the memory that they take is measured.
It grows by as much for each row, so that the largest that fits follows from the last two. All processes of a run try at the same
time, since those on one machine share its memory, and take the smallest number that any of them has found.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

import torch

from plmtrain import stopping
from plmtrain.data.loading.order import Phase
from plmtrain.data.rows.rows import PartedRows, RowSource, by_size, rows_of
from plmtrain.keyed_random import Keys
from plmtrain.programs.parts import Part
from plmtrain.programs.program import Carry, Trainable
from plmtrain.runs.memory_need import kept_beside
from plmtrain.settings.identity import RESOLVED
from plmtrain.settings.run import RunSettings
from plmtrain.training import allocator, memory
from plmtrain.training.group import Group
from plmtrain.training.step import Step, whole_loss

MICRO_BATCHES = "micro_batch_sizes"
"""The key of a run's ``config.yaml``, beside the other choices of its process, for those of its phases."""
_USED = 0.9
"""The share of the available memory that a run may fill: what else a step allocates is not measured here."""
_LONGEST_OF = 4096
"""The rows among which the longest are tried, where rows differ in length."""


def largest_that_fits(taken_by: Callable[[int], int | None], most: int, room: int, constant: int = 0) -> int:
    """Find the largest micro-batch that fits.

    Args:
        taken_by: tries a micro-batch, and returns the bytes that it takes; None if there are not so many.
        most: the most rows that are wanted.
        room: the bytes that there are.
        constant: the bytes that no rows would take, as far as they are known.

    Returns:
        The rows, at least 1.
    """
    tried, taken, size = 0, constant, 1
    while True:
        now = taken_by(size)
        if now is None:
            return _largest_that_works(taken_by, tried, size - 1)
        each = (now - taken) / (size - tried)
        if now > room:
            return max(1, tried)
        tried, taken = size, now
        size = min(2 * tried, most)
        if size == tried:
            return most
        if taken + each * (size - tried) > room:
            return min(most, tried + int((room - taken) / each))


def _largest_that_works(taken_by: Callable[[int], int | None], works: int, most: int) -> int:
    """Find the largest micro-batch for which there is memory, by halves.

    Args:
        taken_by: as in ``largest_that_fits``.
        works: one that does.
        most: one less than one that does not.
    """
    while works < most:
        size = (works + most + 1) // 2
        if taken_by(size) is None:
            most = size - 1
        else:
            works = size
    return max(1, works)


def sizes_before(config: Mapping[str, Any], settings: RunSettings, group: Group) -> list[int] | None:
    """Return the micro-batches that a run began with, by phase, if they are known and as much memory is there for them.

    Args:
        config: the run's ``config.yaml``.
        settings: the run's now.
        group: the processes that train together now.
    """
    chosen, trainer = (part if isinstance(part := config.get(key), dict) else {} for key in (RESOLVED, "trainer"))
    sizes = chosen.get(MICRO_BATCHES)
    alike = (
        chosen.get("processes") == group.size
        and chosen.get("device") == group.device.type
        and trainer.get("activation_checkpointing") == settings.trainer.activation_checkpointing
    )
    if not alike or not isinstance(sizes, list) or not all(isinstance(size, int) and size > 0 for size in sizes):
        return None
    return sizes


def with_fitting_micro_batches(
    phases: Sequence[Phase],
    programs: Sequence[Trainable],
    rows: Sequence[RowSource | PartedRows],
    module: Step,
    settings: RunSettings,
    group: Group,
    processes: int,
    before: Sequence[int] | None = None,
) -> tuple[Phase, ...]:
    """Return the phases with the micro-batches that fit, where they are to be found out; others stay as they are.

    Dropout is drawn for each micro-batch, so that a run must go on with those that it began with to end with the same weights.

    Args:
        phases: of the run.
        programs, rows: one of each for every phase.
        module: on the device, in train mode, not wrapped.
        settings: the run's.
        group: the processes that try together.
        processes: the number of processes that will train together.
        before: the numbers that the run began with, from ``sizes_before``; None to find them out.
    """
    if before is not None and len(before) == len(phases):
        return tuple(
            replace(phase, micro_batch_size=size) if phase.fits_memory else phase
            for phase, size in zip(phases, before, strict=True)
        )
    sizes: dict[tuple[int, int, str], int] = {}
    for phase, program, source in zip(phases, programs, rows, strict=True):
        if phase.fits_memory and (load := _load(phase)) not in sizes:
            sizes[load] = _fitting(phase, program, source, module, settings, group, processes)
    return tuple(replace(phase, micro_batch_size=sizes[_load(phase)]) if phase.fits_memory else phase for phase in phases)


def _load(phase: Phase) -> tuple[int, int, str]:
    """Return what decides how many rows of a phase fit: their length, their number, and its objective, which may predict more."""
    return phase.sequence_length, phase.batch_size, json.dumps(phase.objective, sort_keys=True)


def _fitting(
    phase: Phase,
    program: Trainable,
    rows: RowSource | PartedRows,
    module: Step,
    settings: RunSettings,
    group: Group,
    processes: int,
) -> int:
    """Find the micro-batch of a phase."""
    share, device = phase.batch_size // processes, group.device
    allocator.release()
    group.wait()
    available, known = memory.available(device), None not in (memory.taken(device), memory.peak(device))
    group.wait()
    own = share
    if available is not None and known:
        trained = sum(weight.numel() * weight.element_size() for weight in module.parameters() if weight.requires_grad)
        sharing = processes if device.type == "cpu" else 1
        room = int(_USED * available / sharing) - kept_beside(settings) * trained
        for part in program.parts.members:
            trial = _Trial(module, part, rows_of(rows, part.name), settings)
            own = min(own, largest_that_fits(trial.taken_by, own, room, constant=trained))
    return int(min(group.gather_json([own])))


class _Trial:
    """Tries micro-batches of a part.

    Args:
        module: computes the loss.
        part: the part that is trained.
        rows: its rows.
        settings: the run's.
    """

    def __init__(self, module: Step, part: Part, rows: RowSource, settings: RunSettings) -> None:
        self._module, self._part, self._rows, self._settings = module, part, rows, settings
        self._longest = by_size(rows, min(len(rows), _LONGEST_OF))[::-1]

    def taken_by(self, size: int) -> int | None:
        """Return the bytes that a micro-batch takes at most, gradients included; None if there are not so many."""
        stopping.safe_point()
        device = next(self._module.parameters()).device
        allocator.release()  # what an earlier trial freed would hide what this one takes
        begun = memory.taken(device) or 0
        memory.forget_peak(device)
        # Blocks that are to be compiled would be compiled for every size that is tried.
        compiled = self._settings.trainer.compile
        eager: AbstractContextManager[Any] = torch.compiler.set_stance("force_eager") if compiled else nullcontext()
        try:
            with eager:
                self._pass(size, device)
        except torch.OutOfMemoryError:
            return None
        except RuntimeError as error:
            if "DefaultCPUAllocator" not in str(error):
                raise
            return None
        finally:
            for weight in self._module.parameters():
                weight.grad = None
        most = memory.peak(device)
        return None if most is None else max(0, most - begun)

    def _pass(self, size: int, device: torch.device) -> None:
        samples = self._longest[torch.arange(size).numpy() % len(self._longest)]
        keys = Keys(self._settings.seed, samples * 0, samples)
        batch = self._part.program.collate(self._rows.fetch(samples), keys).to(device)
        carry: Carry = {}
        if batch.fresh is not None:  # what the rows of a stream hand on is kept as well
            with torch.no_grad():
                _, carry = self._module(self._part, batch, carry)
        terms, _ = self._module(self._part, batch, carry)
        torch.autograd.backward(whole_loss(terms, batch.normalisers))
