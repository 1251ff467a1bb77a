"""One step of training, from micro-batches to new weights. It reads top to bottom."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from plmtrain import faults, keyed_random
from plmtrain.batch import Batch, Term
from plmtrain.optim.clipping import clip_by_global_norm
from plmtrain.programs.learner import Learner
from plmtrain.programs.parts import Part
from plmtrain.programs.program import Carry
from plmtrain.training.group import Group
from plmtrain.training.precision import Precision, autocast


class Step(nn.Module):
    """The one module that is wrapped for several processes: its forward pass is the program's loss.

    The learner itself is never called while it trains: a submodule called past the wrapper leaves gradients unreduced.
    """

    def __init__(self, learner: Learner, precision: Precision) -> None:
        super().__init__()
        self.learner = learner
        self.precision = precision

    def forward(self, part: Part, batch: Batch, carry: Carry) -> tuple[dict[str, Term], Carry]:
        with autocast(self.precision, batch.samples.device):
            return part.program.loss(part.learner(self.learner), batch, carry)


@dataclass(frozen=True)
class Outcome:
    """What a step did.

    Args:
        totals: each term's sum over this process's rows, detached.
        weights: each term's weight in the loss.
        normalisers: what each term counts, over all processes and micro-batches, and what the program counts besides.
        gradient_norm: the global norm before clipping.
        updated: whether the weights changed: not where the gradient was not finite.
        carry: what goes on to the next step, for this process's rows; nothing where the weights did not change, because what
            was computed beside a gradient that is not finite may not be finite either.
    """

    totals: Mapping[str, Tensor]
    weights: Mapping[str, float]
    normalisers: Mapping[str, float]
    gradient_norm: float
    updated: bool
    carry: Carry


def global_normalisers(batches: Sequence[Batch], terms: Sequence[str], group: Group) -> dict[str, float]:
    """Sum what each term counts over all micro-batches of all processes."""
    local = torch.tensor([sum(batch.normalisers[name] for batch in batches) for name in terms], dtype=torch.float64)
    return dict(zip(terms, group.sum(local.to(group.device)).tolist(), strict=True))


def whole_loss(terms: Mapping[str, Term], normalisers: Mapping[str, float]) -> Tensor:
    """Sum all terms, each divided by what it counts. A term that counts nothing is an exact zero."""
    parts = [term.total * (term.weight / max(normalisers[name], 1e-9)) for name, term in terms.items()]
    return torch.stack(parts).sum()


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
) -> Outcome:
    """Take one step.

    Args:
        module: the wrapped ``Step``.
        part: computes the loss.
        batches: this process's micro-batches, in order.
        carry: what the step before handed on, for this process's rows in order.
        optimizer: holds the parameters to change.
        scaler: scales the loss for fp16; disabled otherwise.
        group: the processes that train together.
        step: how many steps were taken before.
        seed: the run's seed.
        learning_rate: of this step.
        clip_norm: the longest gradient that is not cut; None for no limit.
    """
    normalisers = global_normalisers(batches, (*part.program.terms, *part.program.counted), group)
    totals: dict[str, Tensor] = {}
    weights: dict[str, float] = {}
    handed_on: list[Carry] = []
    first_row = 0
    for turn, batch in enumerate(batches):
        # Dropout is a function of the step, not of what was drawn before: a resumed run draws the same.
        torch.manual_seed(keyed_random.scalar("dropout", seed, step, group.rank, turn))
        faults.fault_point("train.accum" if turn else "train.forward", step)
        rows = slice(first_row, first_row := first_row + len(batch.samples))
        is_last = turn == len(batches) - 1
        with nullcontext() if is_last else group.local_gradients(module):
            terms, batch_carry = module(part, batch.to(group.device), {name: tensor[rows] for name, tensor in carry.items()})
            loss = whole_loss(terms, normalisers) * group.size  # gradients are averaged over the group, we want their sum
            faults.fault_point("train.backward", step)
            if faults.wanted("train.backward", step) == "nan":
                loss = loss * math.nan
            torch.autograd.backward(scaler.scale(loss))
        for name, term in terms.items():
            totals[name] = totals.get(name, 0.0) + term.total.detach()
            weights[name] = term.weight
        handed_on.append(batch_carry)

    for owner in optimizer.param_groups:
        owner["lr"] = learning_rate
    scaler.unscale_(optimizer)
    # Gradients were summed over the group, so every process sees the same norm and decides alike.
    gradient_norm = float(clip_by_global_norm(module.parameters(), clip_norm))
    finite = math.isfinite(gradient_norm)
    faults.fault_point("optim.before_step", step)
    if finite:
        scaler.step(optimizer)
    scaler.update()
    optimizer.zero_grad()
    faults.fault_point("optim.after_step", step)

    joined = {name: torch.cat([part[name] for part in handed_on]) for name in handed_on[0]}
    return Outcome(totals, weights, normalisers, gradient_norm, finite, joined if finite else {})
