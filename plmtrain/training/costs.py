"""What a step costs: operations and memory by the shapes of a row or two, and the time of real steps.

Operations are those of matrix products, forth and back, a multiplication and an addition each counting as one; all else in a
step is bound by memory and small beside them. They and the memory are a constant and a part for each row, so that one row and
two tell those of any number, before a batch is tried that may be too large.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from plmtrain import stopping
from plmtrain.batch import Batch
from plmtrain.data.loading.order import Phase
from plmtrain.data.loading.step_loader import StepLoader
from plmtrain.data.rows.rows import RowSource
from plmtrain.errors import DivergedError
from plmtrain.keyed_random import Keys
from plmtrain.optim import optimizer
from plmtrain.optim.schedule import learning_rate
from plmtrain.programs.parts import Part
from plmtrain.programs.program import Carry
from plmtrain.settings.run import RunSettings
from plmtrain.training import memory
from plmtrain.training.group import Group
from plmtrain.training.precision import Precision
from plmtrain.training.step import Step, take_step, whole_loss

_WARM_UP, _MEASURED = 1, 2
"""Steps that are taken: the first one warms everything up."""
_GROWS = 8
"""Rows after which a carry that still grows is taken as it is."""


@dataclass(frozen=True)
class Work:
    """What the rows of a micro-batch take, forth and back.

    Args:
        flops: operations, whatever the rows, and for each of them.
        kept: bytes that are kept for the way back, whatever the rows, and for each of them.
        seconds: that a row took beside another one, nothing being warmed up.
    """

    flops: tuple[int, int]
    kept: tuple[int, int]
    seconds: float

    def flops_of(self, rows: int) -> int:
        """Operations of a micro-batch."""
        return self.flops[0] + rows * self.flops[1]

    def kept_of(self, rows: int) -> int:
        """Bytes of a micro-batch."""
        return self.kept[0] + rows * self.kept[1]


def work_of(module: Step, part: Part, rows: RowSource, device: torch.device, seed: int) -> Work:
    """Find out what rows take, by one row and by two.

    Args:
        module: with a learner that is not compiled, in train mode, on the device.
        part: computes the loss.
        rows: of a phase; at least two.
        device: where the learner is.
        seed: the run's.
    """
    found = [_forth_and_back(module, part, _first(part, rows, count, seed).to(device)) for count in (1, 2)]
    (flops, kept, _), (flops_of_two, kept_of_two, seconds) = found

    def line(one: int, two: int) -> tuple[int, int]:
        slope = max(0, two - one)
        return max(0, one - slope), slope

    return Work(line(flops, flops_of_two), line(kept, kept_of_two), seconds / 2)


def _first(part: Part, rows: RowSource, count: int, seed: int) -> Batch:
    samples = np.arange(count, dtype=np.int64)
    return part.program.collate(rows.fetch(samples), Keys(seed, np.zeros(count, np.int64), samples))


def _forth_and_back(module: Step, part: Part, batch: Batch) -> tuple[int, int, float]:
    """Operations, bytes kept between the two, and seconds."""
    carry: Carry = {}
    with torch.no_grad():  # a carry grows over the first rows of a stream
        for _ in range(_GROWS):
            before = _size(carry)
            _, carry = module(part, batch, carry)
            if _size(carry) == before:
                break
    weights = {weight.untyped_storage().data_ptr() for weight in module.parameters()}
    storages: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    began = time.perf_counter()
    with _counter() as counter, saved_tensors_hooks(keep, lambda tensor: tensor):
        terms, _ = module(part, batch, carry)
        torch.autograd.backward(whole_loss(terms, batch.normalisers))
    for weight in module.parameters():
        weight.grad = None
    return counter.get_total_flops(), sum(storages.values()), time.perf_counter() - began


def _counter() -> FlopCounterMode:
    aten = torch.ops.aten

    def forth(query: Any, key: Any, value: Any, *others: Any, **named: Any) -> int:
        return int(sdpa_flop_count(query, key, value))  # type: ignore[no-untyped-call]

    def back(slope: Any, query: Any, key: Any, value: Any, *others: Any, **named: Any) -> int:
        return int(sdpa_backward_flop_count(slope, query, key, value))  # type: ignore[no-untyped-call]

    def product(added_to: Any, left: Any, right: Any, *others: Any, **named: Any) -> int:
        return int(2 * left[0] * left[1] * right[1])

    # What torch's own table lacks: the product that is added in place, and the attention kernel of the CPU.
    kernels: dict[Any, Any] = {
        aten.addmm_: product,
        aten._scaled_dot_product_flash_attention_for_cpu: forth,
        aten._scaled_dot_product_flash_attention_for_cpu_backward: back,
    }
    return FlopCounterMode(display=False, custom_mapping=kernels)


def _size(carry: Carry) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in carry.values())


@dataclass(frozen=True)
class Measured:
    """What real steps took.

    Args:
        rows: that one process read in each.
        seconds: of a step.
        tokens: of a step, without padding where the program counts them.
        peak: bytes that the process held at most; None if that is unknown.
    """

    rows: int
    seconds: float
    tokens: int
    peak: int | None


def measure(
    module: nn.Module,
    part: Part,
    rows: RowSource,
    phase: Phase,
    settings: RunSettings,
    precision: Precision,
    group: Group,
) -> Measured:
    """Take some real steps. The learner's weights change.

    Args:
        module: the wrapped ``Step``.
        part: computes the loss.
        rows: of training.
        phase: whose batch is what one process reads, from step 0 on.
        settings: the run's.
        precision: of matrix products.
        group: one process.

    Raises:
        DivergedError: if a gradient is not finite.
        Stopped: if a signal asked for it.
    """
    phase = replace(phase, index=0, first_step=0, steps=_WARM_UP + _MEASURED, samples_before=0)
    optimiser = optimizer.build(module, settings.optimizer)
    scaler = torch.amp.GradScaler(group.device.type, enabled=precision == "fp16")
    memory.forget_peak(group.device)
    carry: Carry = {}
    seconds, tokens = [], []
    for step, batches, began in _timed(rows, part, phase, settings, group.device):
        outcome = take_step(
            module,
            part,
            batches,
            carry,
            optimiser,
            scaler,
            group,
            step=step,
            seed=settings.seed,
            learning_rate=learning_rate(step, settings.schedule, settings.optimizer.lr, settings.trainer.steps),
            clip_norm=settings.optimizer.clip_norm,
        )
        if not outcome.updated and not scaler.is_enabled():
            raise DivergedError(
                f"the gradient of step {step + 1} is not finite",
                f"gradient norm {outcome.gradient_norm}",
                "lower optimizer.lr or lengthen schedule.warmup, or use trainer.precision=fp32",
            )
        carry = outcome.carry
        seconds.append(time.perf_counter() - began)
        tokens.append(int(outcome.normalisers.get("tokens", phase.batch_size * phase.sequence_length)))
    return Measured(
        phase.batch_size, sum(seconds[_WARM_UP:]) / _MEASURED, sum(tokens[_WARM_UP:]) // _MEASURED, memory.peak(group.device)
    )


def _timed(
    rows: RowSource, part: Part, phase: Phase, settings: RunSettings, device: torch.device
) -> Iterator[tuple[int, Sequence[Batch], float]]:
    """Steps with their micro-batches, and when their loading began."""
    steps = iter(StepLoader([rows], [part.program], [phase], seed=settings.seed, pin_memory=device.type == "cuda"))
    for _ in range(phase.steps):
        stopping.safe_point()
        began = time.perf_counter()
        step, batches = next(steps)
        yield step, batches, began
