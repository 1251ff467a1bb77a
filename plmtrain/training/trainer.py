"""The trainer: takes steps from the last checkpoint to the end of training, and can be killed at any time.

Between two steps it logs, validates and saves what is due, in that order. All decisions depend only on the number of steps taken
and the saved progress, so a run that resumes after a kill does the same as an uninterrupted run. With ``trainer.hours`` the clock
decides how many steps there are, at steps that follow from its own earlier decisions, each of which is recorded before it takes
effect.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from plmtrain import faults, stopping
from plmtrain.batch import Batch
from plmtrain.data.loading.order import Order
from plmtrain.data.loading.plan import Plan
from plmtrain.data.loading.step_loader import StepLoader
from plmtrain.data.rows.mixed_rows import HeldOut
from plmtrain.data.rows.rows import PartedRows, TrainingSource
from plmtrain.errors import DivergedError, Stopped
from plmtrain.optim.schedule import learning_rate
from plmtrain.programs import flops
from plmtrain.programs.learner import switch_dropout
from plmtrain.programs.parts import Part
from plmtrain.programs.program import Trainable
from plmtrain.settings.run import RunSettings
from plmtrain.training import budget, save_request
from plmtrain.training.checkpoint import Checkpoints
from plmtrain.training.clock import CHECKPOINT, VALIDATION, Clock
from plmtrain.training.decision_log import DecisionLog
from plmtrain.training.evaluation import evaluate
from plmtrain.training.group import Group
from plmtrain.training.precision import Precision
from plmtrain.training.progress import Progress
from plmtrain.training.state import TrainingState
from plmtrain.training.step import Outcome, take_step

_WORKERS_FOR_GPU = 2
"""The processes that load the rows of a GPU's next steps, each two of them ahead."""

_LEAST_SCALE = 1e-4
"""fp16's loss scale halves when a gradient overflows. Below this value, the loss is not finite (fairseq's ``min_loss_scale``)."""


class Reporter(Protocol):
    """The output of progress: metrics.jsonl, the progress line, trackers. Only the main process has one."""

    def step(self, done: int) -> None:
        """Report that a step was taken."""

    def planned(self, steps: int) -> None:
        """Report the steps of the whole run, where the clock has changed them."""

    def record(self, record: Mapping[str, float]) -> None:
        """Report measurements; the key ``step`` says at which step."""

    def incident(self, step: int, facts: Mapping[str, object]) -> None:
        """Report an update that was not applied."""

    def note(self, text: str) -> None:
        """Something is to be said to the user."""

    def close(self) -> None:
        """Nothing more will be told."""


@dataclass(frozen=True)
class Setup:
    """The parts of a run that the trainer needs.

    Args:
        settings: the run's settings.
        plan: the run's phases and steps, as planned so far.
        programs: one program, or mixture, for each phase.
        rows: one source of training rows for each phase.
        held_out: the held-out rows, as the last phase reads them.
        unigram: [vocabulary] the unigram loss of each token of the text, in nats; None if there is no text.
        precision: the precision of matrix products.
        group: the processes that train together.
        checkpoints: the run's checkpoints.
        reporter: receives all progress; None except in the main process.
        machine_rate: FLOPs a second of a matrix product of the run's shapes alone; None if the share of it is not to be told.
        decisions: receives what the clock decides; None except in the main process.
        now: returns the time in seconds, for a clock that decides; tests pass their own.
    """

    settings: RunSettings
    plan: Plan
    programs: Sequence[Trainable]
    rows: Sequence[TrainingSource | PartedRows]
    held_out: HeldOut
    unigram: NDArray[np.float64] | None
    precision: Precision
    group: Group
    checkpoints: Checkpoints
    reporter: Reporter | None
    machine_rate: float | None = None
    decisions: DecisionLog | None = None
    now: Callable[[], float] | None = None


class Trainer:
    """Trains one run.

    Args:
        setup: the parts of the run.
        module: the wrapped ``Step`` of the learner.
        state: the learner and its optimiser, fresh or restored.
        progress: the progress so far.
    """

    def __init__(self, setup: Setup, module: nn.Module, state: TrainingState, progress: Progress) -> None:
        self.setup = setup
        self.module = module
        self.state = state
        self.progress = progress
        # fp16 needs loss scaling; with other precisions the scaler does nothing.
        self.scaler = torch.amp.GradScaler(setup.group.device.type, enabled=setup.precision == "fp16")
        if progress.loss_scale and self.scaler.is_enabled():
            self.scaler.load_state_dict(dict(progress.loss_scale))
        self._saved = progress
        self._tokens_before = progress.tokens  # before the last step
        self._selection = setup.programs[-1].selection
        self.plan = setup.plan
        self._order = Order(setup.settings.seed, self.plan.known(progress.step))
        hours = setup.settings.trainer.hours or 0.0
        self._clock = Clock(
            progress.tokens,
            setup.machine_rate,
            several=setup.group.size > 1,
            used=progress.used_seconds,
            lately=budget.LATELY * budget.SECONDS * hours,
            now=setup.now,
        )
        self._requests: Sequence[bool] | None = None

    def run(self) -> Progress:
        """Train to the end.

        Raises:
            Stopped: if a signal asked for it; all progress is saved before.
            DivergedError: if a loss or gradient is not finite.
        """
        self._steps = self._load()
        stopping.until(self._clock.awaited)
        if self.setup.reporter is not None:
            self.setup.reporter.step(self.progress.step)
        while True:
            stop = self._between_steps()
            if stop:
                done, total = self.progress.step, self.plan.steps
                kept = f"step {done:,} of {total:,} is saved" if done else "no step was taken yet"
                raise stopping.stopped(kept, "the same command resumes the run from here")
            if self.finished:
                return self.progress
            with self._clock.step(self._order.phase_at(self.progress.step).index):
                try:
                    number, batches = next(self._steps)
                except Stopped:  # while rows were awaited: no process has begun the step
                    self._requests = None  # older than the wait
                    continue
                self._step(number, batches)

    @property
    def finished(self) -> bool:
        """Whether training is complete: the last step is taken and validated, or early stopping ended the run."""
        done = self.progress.step
        return (done >= self.plan.steps and self.progress.evaluated_step == done) or self.stopped_early

    @property
    def stopped_early(self) -> bool:
        """Whether validation has not improved for ``trainer.patience`` validations."""
        patience = self.setup.settings.trainer.patience
        return patience is not None and self.progress.evaluations_without_improvement >= patience

    def _load(self) -> Generator[tuple[int, list[Batch]]]:
        """Load the batches of the steps from here on."""
        setup, trainer = self.setup, self.setup.settings.trainer
        on_gpu = setup.group.device.type == "cuda"
        loader = StepLoader(
            setup.rows,
            setup.programs,
            self._order.phases,
            seed=setup.settings.seed,
            rank=setup.group.rank,
            world=setup.group.size,
            first_step=self.progress.step,
            workers=(_WORKERS_FOR_GPU if on_gpu else 0) if trainer.workers is None else trainer.workers,
            pin_memory=on_gpu,
            timeout=setup.settings.launch.timeout,
        )
        return iter(loader)

    def _decide(self) -> None:
        """Let the clock decide how many steps there are, if it is time to, and begin the next phase where it has."""
        done, plan, setup = self.progress.step, self.plan, self.setup
        if plan.next_decision is None or done >= plan.steps:
            return
        if plan.next_decision <= done:
            phase = self._order.phase_at(done).index
            self.plan = budget.decided(plan, done, phase, setup.settings.trainer, self._clock, setup.decisions, setup.group)
            if setup.reporter is not None and self.plan.steps != plan.steps:
                setup.reporter.planned(self.plan.steps)
        if (phases := self.plan.known(done)) != self._order.phases:
            self._steps.close()  # it has loaded ahead as if the last phase went on
            self._order = Order(setup.settings.seed, phases)
            self._steps = self._load()

    def _step(self, number: int, batches: Sequence[Batch]) -> None:
        settings, group = self.setup.settings, self.setup.group
        if number == 0:
            faults.fault_point("train.first_step", number)
        phase = self._order.phase_at(number)
        part = self.setup.programs[phase.index].parts.draw(settings.seed, number)
        switch_dropout(self.state.learner, phase.dropout)  # a validation before this step left it on
        outcome = take_step(
            self.module,
            part,
            batches,
            # A phase starts without a carry, even if its rows have the shape of those before.
            {} if number == phase.first_step else self.state.carry,
            self.state.optimizer,
            self.scaler,
            group,
            step=number,
            seed=settings.seed,
            learning_rate=(lr := self._learning_rate(number)),
            clip_norm=settings.optimizer.clip_norm,
            requests=_requests,
        )
        self._requests = outcome.requests
        self.state.carry = outcome.carry
        self._tokens_before = self.progress.tokens
        if self.state.average is not None and outcome.updated:
            self.state.average.update(number + 1)
        self.progress = replace(
            self.progress,
            step=number + 1,
            tokens=self._tokens_read(number, outcome),
            skipped_steps=self.progress.skipped_steps + (not outcome.updated),
            skipped_in_a_row=0 if outcome.updated else self.progress.skipped_in_a_row + 1,
        )
        if not outcome.updated and not (self.scaler.is_enabled() and self.scaler.get_scale() >= _LEAST_SCALE):
            self._not_finite(number, part, batches, outcome)
        self._clock.count(self._flops(part, batches))
        self._log(number, part, outcome, lr)

    def _learning_rate(self, step: int) -> float:
        settings, plan = self.setup.settings, self.plan
        return learning_rate(plan.position(step), settings.schedule, settings.optimizer.lr, plan.length(step))

    def _flops(self, part: Part, batches: Sequence[Batch]) -> int | None:
        """Return the FLOPs of a step of this process; None if they have no closed form."""
        vocabulary = part.learner(self.state.learner).backbone.vocabulary_size
        total = 0
        for batch in batches:
            if (forward := part.program.flops(batch, vocabulary)) is None:
                return None
            total += (1 + flops.BACKWARD) * forward
        return total

    def _tokens_read(self, number: int, outcome: Outcome) -> int:
        """Return the tokens read up to and including a step: without padding if the program counts them, else all positions."""
        if "tokens" in outcome.normalisers:
            return self.progress.tokens + int(outcome.normalisers["tokens"])
        phase = self._order.phase_at(number)
        return self.progress.tokens + phase.batch_size * phase.sequence_length

    def _log(self, number: int, part: Part, outcome: Outcome, lr: float) -> None:
        done, trainer, reporter = number + 1, self.setup.settings.trainer, self.setup.reporter
        if done % trainer.log_every == 0 or done == self.plan.steps:
            names = list(outcome.totals)
            totals = self.setup.group.sum(torch.stack([outcome.totals[name].double() for name in names])).tolist()
            losses = {name: total / max(outcome.normalisers[name], 1e-9) for name, total in zip(names, totals, strict=True)}
            if reporter is not None:
                reporter.record(
                    {
                        "step": done,
                        "tokens": self.progress.tokens,
                        "loss": sum(outcome.weights[name] * loss for name, loss in losses.items()),
                        **{part.key(f"loss/{name}"): loss for name, loss in losses.items()},
                        "lr": lr,
                        "grad_norm": outcome.gradient_norm,
                        **self._clock.read(self.progress.tokens),
                        **({"skipped_steps": self.progress.skipped_steps} if self.progress.skipped_steps else {}),
                    }
                )
        if reporter is not None:
            reporter.step(done)

    def _not_finite(self, number: int, part: Part, batches: Sequence[Batch], outcome: Outcome) -> None:
        """Handle a gradient that was not finite, whose update no process applied: report it, and raise if the run must stop."""
        trainer = self.setup.settings.trainer
        if self.setup.reporter is not None:
            self.setup.reporter.incident(
                number + 1,
                {
                    "gradient_norm": str(outcome.gradient_norm),
                    "loss": {part.key(f"loss/{name}"): str(float(total)) for name, total in outcome.totals.items()},
                    "samples": [sample for batch in batches for sample in batch.samples.tolist()],
                    "seed": self.setup.settings.seed,
                },
            )
        if trainer.on_nonfinite == "stop" or self.progress.skipped_in_a_row > trainer.max_skipped:
            raise DivergedError(
                f"the gradient of step {number + 1} is not finite",
                f"gradient norm {outcome.gradient_norm}; the update was not applied, earlier checkpoints are sound",
                "lower optimizer.lr or lengthen schedule.warmup, use trainer.precision=fp32, or skip such steps with "
                "trainer.on_nonfinite=skip; the batch is described in the run's incidents folder",
            )

    def _between_steps(self) -> bool:
        """Let the clock decide, validate and save if due; return whether to stop here."""
        self._decide()
        done, trainer = self.progress.step, self.setup.settings.trainer
        due = done > 0 and (done % trainer.evaluate_every == 0 or done == self.plan.steps)
        if due and self.progress.evaluated_step != done:
            with self._clock.paused(VALIDATION):
                self._evaluate(done)
            self._requests = None  # older than the validation
        stop, asked = self._agreed()
        best = self._selection.decides and self.progress.best_step == done  # a possible result of the run must be saved
        milestone = done in trainer.milestones or any(
            self._tokens_before < tokens <= self.progress.tokens for tokens in trainer.token_milestones
        )
        due = done % trainer.save_every == 0 or milestone or self.finished or stop or best or asked
        if due and done > 0 and self._saved != self.progress:
            with self._clock.paused(CHECKPOINT):
                self.save()
            if asked:
                save_request.answered()
                if self.setup.reporter is not None:
                    self.setup.reporter.note(f"step {done}: saved on request")
        return stop and not self.finished

    def _agreed(self) -> Sequence[bool]:
        """Return whether any process was asked to stop, and to save. After a step its processes know that already: to ask again
        would be to wait for the device. One that was asked after they agreed in this step is known after the next."""
        if self._requests is None or self.setup.group.size == 1:
            return self.setup.group.anyone(*_requests())
        return self._requests

    def _evaluate(self, done: int) -> None:
        setup, trainer = self.setup, self.setup.settings.trainer
        with nullcontext() if self.state.average is None else self.state.average.installed():
            values = evaluate(
                self.module,
                setup.programs[-1],
                setup.held_out,
                setup.group,
                batch_size=setup.plan.phases[-1].batch_size,
                micro_batch_size=setup.plan.phases[-1].micro_batch_size,
                unigram=setup.unigram,
                limit=trainer.evaluate_batches,
                step=done,
            )
        if values is None:
            return  # asked to stop: the resumed run evaluates this step first
        measured, best = values[self._selection.measure], self.progress.best_metric
        better = not math.isnan(measured) and (best is None or (measured > best if self._selection.higher else measured < best))
        self.progress = replace(
            self.progress,
            evaluated_step=done,
            best_metric=measured if better else best,
            best_step=done if better else self.progress.best_step,
            evaluations_without_improvement=0 if better else self.progress.evaluations_without_improvement + 1,
        )
        if setup.reporter is not None:
            setup.reporter.record({"step": done, **{f"val/{name}": value for name, value in values.items()}})
            if math.isnan(measured):
                what = f"val/{self._selection.measure} is undefined for these answers"
                setup.reporter.note(f"step {done}: {what}; this checkpoint cannot be the best one")

    def save(self) -> None:
        """Save a checkpoint of the current state; all processes must call it, the main process writes."""
        if self.scaler.is_enabled():
            self.progress = replace(self.progress, loss_scale=self.scaler.state_dict())
        if self.plan.decisions:
            self.progress = replace(self.progress, used_seconds=self._clock.used, decisions=self.plan.decisions)
        tensors = self.state.tensors(self.setup.group)
        if self.setup.group.is_main:
            self.setup.checkpoints.save(self.progress.step, tensors, self.progress, best_step=self.progress.best_step)
        self.setup.group.wait()
        self._saved = self.progress


def _requests() -> tuple[bool, bool]:
    """Return whether this process was asked to stop, and to save."""
    return stopping.requested() is not None, save_request.asked()
