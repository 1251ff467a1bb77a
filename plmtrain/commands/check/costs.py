"""The part of a check that builds the model, takes steps, and estimates the costs of the run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch

from plmtrain import stopping
from plmtrain.commands.check.findings import Findings
from plmtrain.console import counted, duration
from plmtrain.data.loading.order import Order, check_divisible, in_turn, plan_phases
from plmtrain.data.loading.plan import Costs
from plmtrain.data.rows.mixed_rows import HeldOut
from plmtrain.data.rows.rows import RowSource, rows_of
from plmtrain.errors import DiskError, MemoryExhausted
from plmtrain.files import free_bytes, nearest_folder, size_in_words
from plmtrain.interop.initial import start_of
from plmtrain.programs.learner import Learner
from plmtrain.programs.parts import Part
from plmtrain.runs.assembly import require_same_data
from plmtrain.runs.learners import build_learner, embedded_tokens, inherit, load_teacher
from plmtrain.runs.lifecycle import weights_digests
from plmtrain.runs.material import Material
from plmtrain.runs.memory_need import carried, kept_beside, planned_learner, require_memory
from plmtrain.runs.micro_batches import with_fitting_micro_batches
from plmtrain.runs.step_shapes import FORWARD_SHARE, StepShape, divide_by_part, in_flops, seconds_of_answers, validation_batches
from plmtrain.settings.run import RunSettings
from plmtrain.settings.trainer import EMBEDDINGS
from plmtrain.training import allocator, memory
from plmtrain.training.budget import SECONDS, steps_that_fit
from plmtrain.training.checkpoint import Checkpoint
from plmtrain.training.checkpoint_manifest import Identity, step_folders
from plmtrain.training.compilation import compile_blocks
from plmtrain.training.costs import Measured, measure, work_of
from plmtrain.training.freezing import freeze, parameters_in_words
from plmtrain.training.group import Group
from plmtrain.training.launch import require_room
from plmtrain.training.precision import Precision, choose_precision, precision_reason
from plmtrain.training.run_folder import RunFolder
from plmtrain.training.state import checkpoint_size
from plmtrain.training.step import Step

_PATIENCE = 30.0
"""The maximum estimated seconds of a measured step: a longer step is measured with fewer rows."""
_MOST_MEASURED = 3000
"""The tensors of weights of the deepest model that is measured, which are about 250 layers: each costs some milliseconds."""
_LONG = 30 * 24 * 3600.0
"""Seconds of training that few people would start on purpose."""


class _Costs:
    """Measures the costs of a run and reports them.

    Args:
        material: the run's data.
        folder: the run's folder.
        findings: receives the results.
    """

    def __init__(self, material: Material, folder: RunFolder, findings: Findings) -> None:
        self.material, self.folder, self.findings = material, folder, findings
        self.settings: RunSettings = material.settings
        self.phases = plan_phases(self.settings.trainer)
        check_divisible(self.phases, self.settings.launch.processes)
        self.whole = material.programs(self.phases)
        self.last = self.phases[-1]
        self.phases, self.parts = divide_by_part(self.phases, self.whole, self.settings.seed)
        self.held_out: HeldOut | None = None
        self.rows: list[RowSource] = []

    def load_rows(self) -> None:
        """Load the training rows of every phase."""
        self.rows = [
            rows_of(self.material.rows("train", program, phase), part.name)
            for (program, part), phase in zip(self.parts, self.phases, strict=True)
        ]

    def load_held_out(self) -> None:
        """Load the held-out rows."""
        self.held_out = self.material.held_out_rows(self.whole[-1], self.last)

    def report_size(self) -> Learner:
        """Report parameters and disk space; return the learner, for whose weights nothing is allocated."""
        tokens = embedded_tokens(self.settings, self.material.tokenizer)
        learner = planned_learner(self.whole[0], tokens)
        start = start_of(self.settings, self.whole[0], learner)
        freeze(learner, self.settings.trainer.freeze)
        begun = {} if start is None else {"loaded": list(start.loaded), "new": list(start.fresh), "new_tokens": len(start.pieces)}
        if begun.get("new_tokens") and EMBEDDINGS in self.settings.trainer.freeze:
            what = "the rows of the new tokens are frozen, too: they will stay the mean of their old pieces"
            self.findings.warn(what, self.findings.origin("trainer.freeze"), "omit embeddings from trainer.freeze")
        parameters = sum(weight.numel() for weight in learner.parameters())
        told = parameters_in_words(learner) + ("" if start is None else f"\n{start}")
        self.findings.fact("model", told, parameters=parameters, **begun)
        self._report_disk(
            checkpoint_size(learner, kept_beside(self.settings), carried([program for program, _ in self.parts], self.phases))
        )
        return learner

    def _report_disk(self, size: int) -> None:
        """Report the disk space of checkpoints: those that are kept, the best one, and the one that is being written."""
        place = self.folder.checkpoints_path
        free = free_bytes(place)
        there = sum(file.stat().st_size for folder in step_folders(place).values() for file in folder.iterdir())
        trainer = self.settings.trainer
        most = (trainer.keep + len(trainer.milestones) + len(trainer.token_milestones) + 2) * size
        needed = max(0, most - there)
        self.findings.fact(
            "disk",
            f"{size_in_words(size)} per checkpoint, {size_in_words(most)} at most"
            + ("" if free is None else f"; {size_in_words(free)} free"),
            checkpoint_bytes=size,
            checkpoints_bytes=most,
            free_bytes=free,
        )
        if free is not None and free < needed:
            what = f"there is not enough disk space for checkpoints: {size_in_words(needed)} needed, {size_in_words(free)} free"
            remedy = "free some space, lower trainer.keep, or choose another runs_dir"
            self.findings.wrong([DiskError(what, str(nearest_folder(place)), remedy)])

    def work(self, planned: Learner) -> None:
        """Measure FLOPs and memory with one and two rows, then the time with real steps if there is enough memory.

        Args:
            planned: the learner without memory for its weights, frozen as requested.
        """
        settings, findings, processes = self.settings, self.findings, self.settings.launch.processes
        holders = 1 if settings.trainer.sharding == "none" else processes
        with findings.collecting():
            require_room(processes)
        allocator.tune()
        group = Group(settings.trainer.device, settings.launch.timeout, settings.trainer.threads)
        if group.device.type == "cpu" and settings.trainer.threads is None:
            torch.set_num_threads(max(1, torch.get_num_threads() // processes))
        precision = choose_precision(settings.trainer.precision, group.device)
        teacher = None
        with findings.collecting():
            teacher = load_teacher(settings, self.material.tokenizer, self.whole, group.device)
            require_memory(settings, planned, self.whole[0], plan_phases(settings.trainer), group.device, holders)
        if findings.errors:
            return
        if (tensors := sum(1 for _ in planned.parameters())) > _MOST_MEASURED:
            what = f"the model is too deep to be measured in a check: it has {tensors:,} tensors of weights"
            remedy = "lower model.layers (or task.source_layers); a run of it would take long, and how long is not known"
            findings.warn(what, findings.origin("model.layers"), remedy)
            return
        eager = settings.model_copy(update={"trainer": settings.trainer.model_copy(update={"compile": False})})
        tokens = embedded_tokens(settings, self.material.tokenizer)
        learner = build_learner(eager, self.whole[0], tokens)
        if teacher is not None:
            self.findings.fact("teacher", inherit(learner, self.whole[0], teacher))
        module = Step(learner.to(group.device), precision, teacher)
        phases = plan_phases(settings.trainer)
        if any(phase.fits_memory for phase in phases):
            whole_rows = [self.material.rows("train", program, phase) for program, phase in zip(self.whole, phases, strict=True)]
            phases = with_fitting_micro_batches(phases, self.whole, whole_rows, module, settings, group, processes)
        micro_batches = {(phase.sequence_length, phase.batch_size): phase.micro_batch_size for phase in phases}
        shapes = []
        for phase, (_, part), rows in zip(self.phases, self.parts, self.rows, strict=True):
            share = phase.batch_size // processes
            work = work_of(module, part, rows, group.device, settings.seed)
            micro = phase.micro_batch_size or micro_batches[phase.sequence_length, phase.batch_size] or share
            shapes.append(StepShape(phase, share, min(share, micro), work))
        if settings.trainer.hours is None:
            self._report_work(shapes)
        weights = sum(weight.numel() * weight.element_size() for weight in planned.parameters()) // holders
        if not self._fits(shapes, weights, group):
            return
        if settings.trainer.compile:
            compile_blocks(learner, ragged=self.whole[0].parts.are_ragged)
        self._measure(shapes, module, group, precision)

    def _require(self, needed: int, available: int | None, of_what: str, micro: int | None) -> None:
        if available is not None and needed > available:
            fewer = f"trainer.micro_batch_size={micro} (with dropout, other masks; else the same result)"
            smaller = fewer if micro else "a smaller size= or model="
            what = f"{of_what} take about {size_in_words(needed)}, and {size_in_words(available)} are available"
            remedy = f"try {smaller}, trainer.activation_checkpointing=true, or a smaller trainer.sequence_length"
            self.findings.wrong([MemoryExhausted(what, counted(self.settings.launch.processes, "process"), remedy)])

    def _fits(self, shapes: Sequence[StepShape], weights: int, group: Group) -> bool:
        """Report the memory of a step; return whether it is available."""
        processes, now, available = self.settings.launch.processes, memory.taken(group.device), memory.available(group.device)
        sharing = processes if group.device.type == "cpu" else 1  # else each has a device of its own
        largest = max(shapes, key=lambda shape: shape.work.kept_of(shape.micro))
        kept = largest.work.kept_of(largest.micro)
        carry = carried([program for program, _ in self.parts], self.phases) // processes
        own = (now or 0) + (1 + kept_beside(self.settings)) * weights + kept + carry
        self.findings.fact(
            "memory",
            f"about {size_in_words(own)} per process, of which {size_in_words(kept)} for {largest.micro} rows"
            + ("" if available is None else f"; {size_in_words(available)} available"),
            memory_bytes=own,
            rows_memory_bytes=kept,
            available_bytes=available,
        )
        if available is None:
            return True
        # The memory of this process is already excluded from what is available.
        fixed = sharing * own - (now or 0) - sharing * kept
        fitting = (available - fixed - sharing * largest.work.kept[0]) // max(1, sharing * largest.work.kept[1])
        before = len(self.findings.errors)
        self._require(fixed + sharing * kept, available, f"steps with {largest.micro} rows in a micro-batch", max(0, fitting))
        return len(self.findings.errors) == before

    def _report_work(self, shapes: Sequence[StepShape]) -> None:
        order, trainer = Order(self.settings.seed, self.phases), self.settings.trainer
        tokens = order.tokens_before(order.steps - 1) + self.phases[-1].batch_size * self.phases[-1].sequence_length
        flops = sum(shape.flops * shape.phase.steps for shape in shapes)
        a_step = " then ".join(dict.fromkeys(in_flops(shape.flops) for shape in shapes))
        passes = self.material.passes(self.rows, self.phases)
        epochs = "" if passes is None else f", {passes:.2f} epochs"
        self.findings.fact(
            "work",
            ("" if trainer.hours is None else f"trainer.hours={trainer.hours:g} holds about ")
            + f"{counted(trainer.steps, 'step')}, {tokens:,} tokens with padding{epochs}; "
            f"{a_step} per step, {in_flops(flops)} in total",
            steps=trainer.steps,
            tokens=tokens,
            passes=passes,
            flops_per_step=[shape.flops for shape in shapes],
            flops=flops,
        )

    def _measure(self, shapes: Sequence[StepShape], module: Step, group: Group, precision: Precision) -> None:
        """Take real steps of every shape, and report the estimated time of the run."""
        measured: dict[tuple[str | None, int, int, int | None], Measured] = {}
        rates = []
        for shape, (program, part) in zip(shapes, self.parts, strict=True):
            phase = shape.phase
            key = (part.name, phase.sequence_length, phase.batch_size, phase.micro_batch_size)
            if key not in measured:
                shorter = replace(phase, batch_size=_measured_rows(shape), micro_batch_size=shape.micro)
                rows = rows_of(self.material.rows("train", program, shorter), part.name)
                measured[key] = measure(module, part, rows, shorter, self.settings, precision, group)
            rates.append(measured[key])
        steps = [shape.seconds(rate) for shape, rate in zip(shapes, rates, strict=True)]
        batches = sum(count for _, _, count in self._held_out())
        answering = seconds_of_answers(
            self._held_out(),
            module.learner,
            self.last,
            group,
            precision,
            processes=self.settings.launch.processes,
            patience=_PATIENCE,
        )
        validation = batches * FORWARD_SHARE * steps[-1] + answering
        if self.settings.trainer.hours is not None:
            shapes = self._with_steps_that_fit(shapes, Costs(step=tuple(steps), validation=validation))
            self._report_work(shapes)
        self._report_time(shapes, rates, validation, answering > 0, group, precision)

    def _with_steps_that_fit(self, shapes: Sequence[StepShape], costs: Costs) -> list[StepShape]:
        """Return the shapes with as many steps as the budget of hours holds, which are the run's from here on."""
        trainer, all_steps = self.settings.trainer, self.phases[-1].end
        assert trainer.hours is not None
        fitting = max(1, steps_that_fit(self.phases, 0.0, 0, SECONDS * trainer.hours, costs, trainer))
        self.settings = self.settings.model_copy(update={"trainer": trainer.model_copy(update={"steps": fitting})})
        self.phases = in_turn(replace(phase, steps=round(phase.steps * fitting / all_steps)) for phase in self.phases)
        return [replace(shape, phase=phase) for shape, phase in zip(shapes, self.phases, strict=True)]

    def _held_out(self) -> list[tuple[Part, RowSource, int]]:
        """Return the held-out rows of each part, and the number of batches of them that a validation reads."""
        assert self.held_out is not None
        return validation_batches(self.held_out, self.whole[-1], self.last, self.settings.trainer)

    def _report_time(
        self,
        shapes: Sequence[StepShape],
        rates: Sequence[Measured],
        validation: float,
        answers: bool,
        group: Group,
        precision: Precision,
    ) -> None:
        trainer, processes = self.settings.trainer, self.settings.launch.processes
        steps = [shape.seconds(rate) for shape, rate in zip(shapes, rates, strict=True)]
        training = sum(seconds * shape.phase.steps for seconds, shape in zip(steps, shapes, strict=True))
        validations = math.ceil(trainer.steps / trainer.evaluate_every)
        validating = validations * validation
        per_second = [processes * rate.tokens / rate.seconds for rate in rates]
        flops = shapes[0].flops / steps[0]
        partly = [rate.rows for shape, rate in zip(shapes, rates, strict=True) if rate.rows < shape.share]
        why = precision_reason(trainer.precision, group.device)
        partial = f"; extrapolated from {min(partly)} rows of a step" if partly else ""
        self.findings.fact(
            "speed",
            f"{' then '.join(f'{seconds:.3g} s' for seconds in dict.fromkeys(steps))} per step, {per_second[0]:,.0f} tokens/s, "
            f"{in_flops(flops)}/s, in {precision} ({why}) on {group.device} "
            f"({processes} × {torch.get_num_threads()} threads){partial}",
            seconds_per_step=steps,
            tokens_per_second=per_second,
            device=str(group.device),
            precision=precision,
            precision_reason=why,
        )
        peak = max((rate.peak for rate in rates if rate.peak is not None), default=None)
        if peak is not None:
            text = self.findings.facts["memory"]
            self.findings.fact("memory", f"{text}; {size_in_words(peak)} measured", measured_memory_bytes=peak)
        self.findings.fact(
            "time",
            # A model that is not trained yet writes texts to their limit.
            f"about {duration(training)}, and {'up to ' if answers else ''}{duration(validating)} for "
            f"{counted(validations, 'validation')}",
            training_seconds=training,
            validation_seconds=validating,
        )
        if training > _LONG:
            self.findings.warn(
                f"the run would take about {duration(training)} on this machine",
                self.findings.origin("trainer.steps"),
                "lower trainer.steps, choose a smaller size= or model=, or train where there are GPUs or more processes",
            )


def examine_costs(material: Material, folder: RunFolder, checkpoint: Checkpoint | None, findings: Findings) -> None:
    """Build the model and take real steps; report errors, and the costs of the run.

    Args:
        material: the run's data.
        folder: the run's folder, in which nothing is written.
        checkpoint: the checkpoint that the run would resume from, or None.
        findings: receives the results.
    """
    with stopping.ending_at_once():
        _examine_costs(material, folder, checkpoint, findings)


def _examine_costs(material: Material, folder: RunFolder, checkpoint: Checkpoint | None, findings: Findings) -> None:
    costs = None
    with findings.collecting():
        costs = _Costs(material, folder, findings)
    if costs is None:
        return
    with findings.collecting():
        costs.load_rows()
    with findings.collecting():
        costs.load_held_out()
    if checkpoint is not None:
        with findings.collecting():
            teacher = weights_digests(material.settings).get("teacher", "")
            identity = Identity("", "", material.tokenizer.digest, material.digest, teacher)
            require_same_data(checkpoint, identity, material, folder)
    with findings.collecting():
        planned = costs.report_size()
        if costs.rows and costs.held_out is not None:
            costs.work(planned)


def _measured_rows(shape: StepShape) -> int:
    """Return the rows of a measured step: all, or fewer if it would take too long, in whole micro-batches if possible."""
    rows = max(1, int(_PATIENCE / max(shape.work.seconds, 1e-9)))
    if rows >= shape.share:
        return shape.share
    return rows if rows <= shape.micro else rows // shape.micro * shape.micro
