"""The costs of a step: FLOPs and activation memory, extrapolated from one and two rows, and the time of real steps.

FLOPs are those of the matrix products of the forward and backward pass; a multiplication and an addition count as one each. All
other operations of a step are memory-bound and small in comparison. FLOPs and memory are linear in the number of rows, so
measurements with one row and with two rows give those of any number, before a batch is tried that may be too large.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
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
from plmtrain.programs.answering import Answering
from plmtrain.programs.learner import Learner
from plmtrain.programs.parts import Part
from plmtrain.programs.program import Carry
from plmtrain.settings.run import RunSettings
from plmtrain.training import memory
from plmtrain.training.compilation import uncompiled
from plmtrain.training.group import Group
from plmtrain.training.hidden_matrices import hidden_matrices
from plmtrain.training.layer_rates import rate_shares
from plmtrain.training.precision import UPDATE_TYPES, Precision, autocast
from plmtrain.training.step import Step, take_step, whole_loss

WARM_UP, _MEASURED = 1, 2
"""The number of warm-up steps, and of measured steps unless more are asked for."""
_GROWS = 8
"""The maximum number of rows to run until the carry stops growing."""


@dataclass(frozen=True)
class Work:
    """The costs of a micro-batch in the forward and backward pass, each a constant and an amount for each row.

    Args:
        flops: FLOPs, the constant and the amount for each row.
        kept: bytes that are saved for the backward pass, the constant and the amount for each row.
        seconds: the time of a row in a micro-batch of two, without warm-up.
    """

    flops: tuple[int, int]
    kept: tuple[int, int]
    seconds: float

    def flops_of(self, rows: int) -> int:
        """Return the FLOPs of a micro-batch."""
        return self.flops[0] + rows * self.flops[1]

    def kept_of(self, rows: int) -> int:
        """Return the bytes that a micro-batch saves for the backward pass."""
        return self.kept[0] + rows * self.kept[1]


def work_of(module: Step, part: Part, rows: RowSource, device: torch.device, seed: int) -> Work:
    """Measure the costs of rows with micro-batches of one and of two rows.

    Args:
        module: its learner runs as it is, not compiled, in train mode, and on the device.
        part: computes the loss.
        rows: the rows of a phase, at least two.
        device: the learner's device.
        seed: the run's seed.
    """
    passes = [_forward_and_backward(module, part, _first(part, rows, count, seed).to(device)) for count in (1, 2)]
    (flops, kept, _), (flops_of_two, kept_of_two, seconds) = passes

    def line(one: int, two: int) -> tuple[int, int]:
        slope = max(0, two - one)
        return max(0, one - slope), slope

    return Work(line(flops, flops_of_two), line(kept, kept_of_two), seconds / 2)


def _first(part: Part, rows: RowSource, count: int, seed: int) -> Batch:
    samples = np.arange(count, dtype=np.int64)
    return part.program.collate(rows.fetch(samples), Keys(seed, np.zeros(count, np.int64), samples))


def _forward_and_backward(module: Step, part: Part, batch: Batch) -> tuple[int, int, float]:
    """Run both passes; return the FLOPs, the bytes saved for the backward pass, and the seconds."""
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

    def forward_flops(query: Any, key: Any, value: Any, *others: Any, **named: Any) -> int:
        return int(sdpa_flop_count(query, key, value))  # type: ignore[no-untyped-call]

    def backward_flops(slope: Any, query: Any, key: Any, value: Any, *others: Any, **named: Any) -> int:
        return int(sdpa_backward_flop_count(slope, query, key, value))  # type: ignore[no-untyped-call]

    def product_flops(added_to: Any, left: Any, right: Any, *others: Any, **named: Any) -> int:
        return int(2 * left[0] * left[1] * right[1])

    # Missing in torch's own table: the in-place addmm, and the attention kernel of the CPU.
    kernels: dict[Any, Any] = {
        aten.addmm_: product_flops,
        aten._scaled_dot_product_flash_attention_for_cpu: forward_flops,
        aten._scaled_dot_product_flash_attention_for_cpu_backward: backward_flops,
    }
    return FlopCounterMode(display=False, custom_mapping=kernels)


def _size(carry: Carry) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in carry.values())


@dataclass(frozen=True)
class Measured:
    """The measured costs of real steps.

    Args:
        rows: rows of one process in each step.
        seconds: the median seconds of a step.
        loading: the seconds of that in which the step waited for its rows: their share in all steps.
        tokens: tokens of a step, without padding if the program counts them.
        peak: the peak memory of the process in bytes; None if unknown.
    """

    rows: int
    seconds: float
    loading: float
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
    steps: int = _MEASURED,
    between: Callable[[], object] = lambda: None,
) -> Measured:
    """Take some real steps and measure them. The learner's weights change, unless ``optimizer.lr`` is 0.

    Args:
        module: the wrapped ``Step``.
        part: computes the loss.
        rows: the training rows.
        phase: its batch is that of the group; its steps are counted from 0.
        settings: the run's settings.
        precision: the precision of matrix products.
        group: the processes that take the steps together.
        steps: how many are measured, after one that is not.
        between: called before each step, outside its time, such as for a step of another program in turn.

    Raises:
        DivergedError: if a gradient is not finite, unless ``trainer.on_nonfinite`` skips such steps.
        Stopped: if a signal asked for it.
    """
    phase = replace(phase, index=0, first_step=0, steps=WARM_UP + steps, samples_before=0)
    shares, hidden = rate_shares(module, settings.optimizer), hidden_matrices(module)
    optimiser = optimizer.build(module, settings.optimizer, shares, hidden, UPDATE_TYPES[precision])
    scaler = torch.amp.GradScaler(group.device.type, enabled=precision == "fp16")
    memory.forget_peak(group.device)
    carry: Carry = {}
    seconds, loading, tokens = [], [], []
    for step, batches, began in _timed(rows, part, phase, settings, group, between):
        loading.append(time.perf_counter() - began)
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
        if not outcome.updated and not scaler.is_enabled() and settings.trainer.on_nonfinite == "stop":
            raise DivergedError(
                f"the gradient of step {step + 1} is not finite",
                f"gradient norm {outcome.gradient_norm}",
                "lower optimizer.lr or lengthen schedule.warmup, or use trainer.precision=fp32",
            )
        carry = outcome.carry
        seconds.append(time.perf_counter() - began)
        tokens.append(int(outcome.normalisers.get("tokens", phase.batch_size * phase.sequence_length)))
    median = statistics.median(seconds[WARM_UP:])
    return Measured(
        rows=phase.batch_size // group.size,
        seconds=median,
        loading=median * sum(loading[WARM_UP:]) / sum(seconds[WARM_UP:]),
        tokens=sum(tokens[WARM_UP:]) // steps,
        peak=memory.peak(group.device),
    )


def answering_seconds(
    answering: Answering[Any],
    learner: Learner,
    rows: RowSource,
    count: int,
    device: torch.device,
    precision: Precision,
    patience: float,
) -> float:
    """Return the seconds in which one process answers a batch of held-out rows, such as by generating texts.

    Args:
        answering: computes the answers.
        learner: on the device. One that was not trained yet may not know when a text ends, and then writes more than later.
        rows: the held-out rows.
        count: the rows of the batch.
        device: the learner's device.
        precision: the precision of matrix products.
        patience: the most seconds to measure; a batch that would take longer is extrapolated from fewer rows.
    """

    def seconds(number: int) -> float:
        began = time.perf_counter()
        with autocast(precision, device), uncompiled():
            answering.predict(learner, answering.collate(rows.fetch(np.arange(number) % len(rows))).to(device))
        return time.perf_counter() - began

    was_training = learner.training
    learner.eval()
    seconds(1)  # warm-up
    number = max(1, min(count, int(patience / max(seconds(1), 1e-9))))
    taken = seconds(number)
    learner.train(was_training)
    return taken * count / number


def _timed(
    rows: RowSource,
    part: Part,
    phase: Phase,
    settings: RunSettings,
    group: Group,
    between: Callable[[], object],
) -> Iterator[tuple[int, Sequence[Batch], float]]:
    """Yield each step with its micro-batches, and the time at which their loading began."""
    loader = StepLoader(
        [rows],
        [part.program],
        [phase],
        seed=settings.seed,
        rank=group.rank,
        world=group.size,
        pin_memory=group.device.type == "cuda",
    )
    steps = iter(loader)
    for _ in range(phase.steps):
        if group.anyone_asked_to_stop():
            raise stopping.stopped()
        between()
        began = time.perf_counter()
        step, batches = next(steps)
        yield step, batches, began
