"""One training step, from micro-batches to new weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from plmtrain import faults, keyed_random
from plmtrain.batch import Batch, Term
from plmtrain.optim.clipping import clip_by_global_norm
from plmtrain.programs.learner import Learner
from plmtrain.programs.parts import Part
from plmtrain.programs.program import Carry
from plmtrain.programs.taught import Taught, Teacher
from plmtrain.training.group import Group
from plmtrain.training.precision import Precision, autocast


class Step(nn.Module):
    """The module that is wrapped for distributed training: its forward pass is the program's loss.

    Only the wrapper may be called in training: gradients of a submodule that is called directly would not be reduced. A teacher
    is not a submodule: it is neither sent to the other processes nor switched between modes.

    Args:
        learner: the module that is trained.
        precision: the precision of matrix products.
        teacher: the model that the learner learns from, on the learner's device; None if no program has one.
        keeps_casts: as for ``autocast``; sharded weights must not be kept in any precision.
    """

    def __init__(self, learner: Learner, precision: Precision, teacher: Teacher | None = None, keeps_casts: bool = True) -> None:
        super().__init__()
        self.learner = learner
        self.precision = precision
        self.teacher = teacher
        self.keeps_casts = keeps_casts

    def forward(self, part: Part, batch: Batch, carry: Carry) -> tuple[dict[str, Term], Carry]:
        with autocast(self.precision, batch.samples.device, self.keeps_casts):
            if isinstance(part.program, Taught) and part.program.is_taught:
                assert self.teacher is not None, "the rules of the settings demand a teacher"
                with torch.no_grad():
                    batch = replace(batch, lessons=part.program.lessons(self.teacher.learner, batch))
            return part.program.loss(part.learner(self.learner), batch, carry)


@dataclass(frozen=True)
class Outcome:
    """The outcome of a step.

    Args:
        totals: each term's sum over this process's rows, detached.
        weights: each term's weight in the loss.
        normalisers: each term's number of targets over all processes and micro-batches, and the program's further counts.
        gradient_norm: the global norm before clipping.
        updated: whether the weights were updated; false if the gradient was not finite.
        carry: the carry for the next step, for this process's rows; empty if the weights were not updated, because the carry may
            then not be finite either.
        requests: which of the requests any process has had, as of the moment at which it had handed the backward pass to its
            device; a later one is known after the next step.
    """

    totals: Mapping[str, Tensor]
    weights: Mapping[str, float]
    normalisers: Mapping[str, float]
    gradient_norm: float
    updated: bool
    carry: Carry
    requests: tuple[bool, ...] = ()


def global_normalisers(batches: Sequence[Batch], names: Sequence[str], group: Group) -> dict[str, Tensor]:
    """Sum each normaliser over all micro-batches of all processes; scalars on the group's device, for which nothing waits."""
    local = torch.tensor([sum(batch.normalisers[name] for batch in batches) for name in names], dtype=torch.float64)
    return dict(zip(names, group.sum(local.to(group.device, non_blocking=True)).unbind(), strict=True))


def whole_loss(terms: Mapping[str, Term], normalisers: Mapping[str, Tensor | float]) -> Tensor:
    """Sum all terms, each divided by its normaliser. A term without targets is exactly zero."""
    parts = []
    for name, term in terms.items():
        normaliser = torch.as_tensor(normalisers[name], dtype=torch.float64)
        parts.append(term.total * (term.weight / normaliser.clamp(min=1e-9)).to(term.total.dtype))
    return torch.stack(parts).sum()


def read(numbers: Sequence[Tensor]) -> list[float]:
    """Return scalars of a device: the one place in a step that waits for it."""
    return torch.stack([number.double() for number in numbers]).tolist()


def take_step(
    module: nn.Module,
    part: Part,
    batches: Sequence[Batch],
    carry: Carry,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    group: Group,
    *,
    step: int,
    seed: int,
    learning_rate: float,
    clip_norm: float | None,
    requests: Callable[[], Sequence[bool]] = tuple,
) -> Outcome:
    """Take one step.

    Args:
        module: the wrapped ``Step``.
        part: computes the loss.
        batches: this process's micro-batches, in order.
        carry: the carry of the preceding step, for this process's rows in order.
        optimizer: the optimiser of the learner's parameters.
        scaler: scales the loss for fp16; disabled otherwise.
        group: the processes that train together.
        step: the number of steps taken before.
        seed: the run's seed.
        learning_rate: the learning rate of this step, of which each group of parameters has its share.
        clip_norm: the maximum gradient norm; None for no clipping.
        requests: returns whether this process has had each of some requests; that of any process counts for all.
    """
    summed = global_normalisers(batches, (*part.program.terms, *part.program.counted), group)
    # Without a GPU torch would prepare the generators of all kinds of GPUs each time, which takes a tenth of a very small step.
    seed_dropout = torch.default_generator.manual_seed if group.device.type == "cpu" else torch.manual_seed
    totals: dict[str, Tensor] = {}
    weights: dict[str, float] = {}
    handed_on: list[Carry] = []
    first_row = 0
    for turn, batch in enumerate(batches):
        # Dropout depends on the step, not on earlier draws: a resumed run draws the same.
        seed_dropout(keyed_random.scalar("dropout", seed, step, group.rank, turn))
        faults.fault_point("train.accum" if turn else "train.forward", step)
        rows = slice(first_row, first_row := first_row + len(batch.samples))
        is_last = turn == len(batches) - 1
        with nullcontext() if is_last else group.local_gradients(module):
            terms, batch_carry = module(part, batch.to(group.device), {name: tensor[rows] for name, tensor in carry.items()})
            loss = whole_loss(terms, summed) * group.size  # gradients are averaged over the group, but their sum is needed
            faults.fault_point("train.backward", step)
            if faults.wanted("train.backward", step) == "nan":
                loss = loss * math.nan
            torch.autograd.backward(scaler.scale(loss))
        for name, term in terms.items():
            totals[name] = totals.get(name, 0.0) + term.total.detach()
            weights[name] = term.weight
        handed_on.append(batch_carry)

    for owner in optimizer.param_groups:
        owner["lr"] = learning_rate * owner["share"]
    scaler.unscale_(optimizer)
    # Gradients were summed over the group, so every process has the same norm and takes the same decision.
    norm = clip_by_global_norm(module.parameters(), clip_norm)
    asked = group.sum(torch.tensor(requests(), dtype=torch.float64).to(group.device, non_blocking=True)).unbind()
    gradient_norm, *counts = read([norm.to(group.device, non_blocking=True), *summed.values(), *asked])
    finite = math.isfinite(gradient_norm)
    faults.fault_point("optim.before_step", step)
    if finite:
        optimizer.step()  # the scaler would wait for the device to look for overflows, of which there are none
    scaler.update()
    optimizer.zero_grad()
    faults.fault_point("optim.after_step", step)

    joined = {name: torch.cat([part[name] for part in handed_on]) for name in handed_on[0]}
    normalisers = dict(zip(summed, counts, strict=False))
    answered = tuple(count > 0 for count in counts[len(summed) :])
    return Outcome(totals, weights, normalisers, gradient_norm, finite, joined if finite else {}, answered)
