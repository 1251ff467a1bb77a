"""The part of a check that builds the model, takes steps, and says what the run will cost."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from plmtrain import backbones
from plmtrain.commands.check.findings import Report, counted
from plmtrain.data.loading.order import Order, Phase, check_divisible, plan
from plmtrain.data.rows.rows import PartedRows, RowSource, rows_of
from plmtrain.errors import DiskError, MemoryExhausted
from plmtrain.files import free_bytes, nearest_folder, size_in_words
from plmtrain.programs.parts import Part
from plmtrain.programs.program import Trainable
from plmtrain.runs.assembly import build_learner, carried, compile_blocks, embedded_tokens, require_same_data
from plmtrain.runs.material import Material
from plmtrain.settings.run import RunSettings
from plmtrain.training import allocator, memory
from plmtrain.training.checkpoint import Checkpoint
from plmtrain.training.checkpoint_manifest import Identity, step_folders
from plmtrain.training.costs import Measured, Work, measure, work_of
from plmtrain.training.group import Group
from plmtrain.training.precision import Precision, choose
from plmtrain.training.progress_line import duration
from plmtrain.training.run_folder import RunFolder
from plmtrain.training.state import checkpoint_size
from plmtrain.training.step import Step

_PATIENCE = 30.0
"""Seconds that a measured step may take, as far as can be foretold: a longer one is measured by a part of its rows."""
_DRAWN_STEPS = 10_000
"""Steps by which the shares of a mixture's parts are told."""
_FORTH = 1 / 3
"""The part of a step's work that is the way forth, all that a validation does: the way back is twice as long."""


@dataclass(frozen=True)
class _Shape:
    """What a step of a phase is for one process.

    Args:
        phase: the phase.
        share: rows of one process.
        micro: rows that it takes at a time.
        work: that rows take.
    """

    phase: Phase
    share: int
    micro: int
    work: Work

    @property
    def flops(self) -> int:
        """Operations of a step, over all processes."""
        turns = math.ceil(self.share / self.micro) * (self.phase.batch_size // self.share)
        return turns * self.work.flops[0] + self.phase.batch_size * self.work.flops[1]

    def seconds(self, measured: Measured) -> float:
        """Of a step."""
        return measured.seconds * self.share / measured.rows


class _Costs:
    """The costs of a run, found out step by step.

    Args:
        material: the run's data.
        folder: the run's.
        report: hears of everything.
    """

    def __init__(self, material: Material, folder: RunFolder, report: Report) -> None:
        self.material, self.folder, self.report = material, folder, report
        self.settings: RunSettings = material.settings
        self.phases = plan(self.settings.trainer)
        check_divisible(self.phases, self.settings.launch.processes)
        self.whole = material.programs(self.phases)
        self.last = self.phases[-1]
        self.phases, self.parts = _one_after_the_other(self.phases, self.whole, self.settings.seed)
        self.held_out: RowSource | PartedRows | None = None
        self.rows: list[RowSource] = []

    def find_rows(self) -> None:
        """The rows of every phase, and those held out."""
        self.rows = [
            rows_of(self.material.rows("train", program, phase), part.name)
            for (program, part), phase in zip(self.parts, self.phases, strict=True)
        ]

    def find_held_out(self) -> None:
        """The held-out rows."""
        self.held_out = self.material.rows("validation", self.whole[-1], self.last)

    def size_up(self) -> int:
        """Tell parameters and disk, without memory for a single weight; the bytes of all parameters."""
        tokens = embedded_tokens(self.settings, self.material.tokenizer)
        with torch.device("meta"):
            learner = self.whole[0].build(lambda model: backbones.build(model, tokens))
        parameters = sum(weight.numel() for weight in learner.parameters())
        self.report.fact("model", f"{parameters:,} parameters", parameters=parameters)
        self._find_room(checkpoint_size(learner, carried([program for program, _ in self.parts], self.phases)))
        return sum(weight.numel() * weight.element_size() for weight in learner.parameters())

    def _find_room(self, size: int) -> None:
        """Tell the disk that checkpoints take: those that are kept, the best one, and the one that is being written."""
        place = self.folder.checkpoints_path
        free = free_bytes(place)
        there = sum(file.stat().st_size for folder in step_folders(place).values() for file in folder.iterdir())
        most = (self.settings.trainer.keep + 2) * size
        needed = max(0, most - there)
        self.report.fact(
            "disk",
            f"{size_in_words(size)} a checkpoint, {size_in_words(most)} at most"
            + ("" if free is None else f"; {size_in_words(free)} free"),
            checkpoint_bytes=size,
            checkpoints_bytes=most,
            free_bytes=free,
        )
        if free is not None and free < needed:
            what = f"there is no room for checkpoints: {size_in_words(needed)} needed, {size_in_words(free)} free"
            remedy = "make room, lower trainer.keep, or choose another runs_dir"
            self.report.wrong([DiskError(what, str(nearest_folder(place)), remedy)])

    def work(self, weights: int) -> None:
        """Find out operations and memory by a row or two, then the time by real steps, if there is memory for them.

        Args:
            weights: bytes of all parameters.
        """
        settings, report, processes = self.settings, self.report, self.settings.launch.processes
        allocator.tune()
        group = Group(settings.trainer.device, settings.launch.timeout, settings.trainer.threads)
        if group.device.type == "cpu" and settings.trainer.threads is None:
            torch.set_num_threads(max(1, torch.get_num_threads() // processes))
        precision = choose(settings.trainer.precision, group.device)
        # Gradients and two moments beside them, and room for a row or two.
        self._require(processes * 4 * weights, memory.available(group.device), "weights, gradients and moments", None)
        if report.errors:
            return
        eager = settings.model_copy(update={"trainer": settings.trainer.model_copy(update={"compile": False})})
        tokens = embedded_tokens(settings, self.material.tokenizer)
        learner = build_learner(eager, self.whole[0], tokens).to(group.device)
        module = Step(learner, precision)
        shapes = []
        for phase, (_, part), rows in zip(self.phases, self.parts, self.rows, strict=True):
            share = phase.batch_size // processes
            work = work_of(module, part, rows, group.device, settings.seed)
            shapes.append(_Shape(phase, share, min(share, phase.micro_batch_size or share), work))
        self._tell_work(shapes)
        if not self._fits(shapes, weights, group):
            return
        if settings.trainer.compile:
            compile_blocks(learner, self.whole[0])
        self._measure(shapes, module, group, precision)

    def _require(self, needed: int, available: int | None, of_what: str, micro: int | None) -> None:
        if available is not None and needed > available:
            smaller = f"trainer.micro_batch_size={micro} (it never changes the result)" if micro else "a smaller size= or model="
            what = f"{of_what} take about {size_in_words(needed)}, and {size_in_words(available)} are available"
            remedy = f"try {smaller}, or a smaller trainer.sequence_length"
            self.report.wrong([MemoryExhausted(what, counted(self.settings.launch.processes, "process"), remedy)])

    def _fits(self, shapes: Sequence[_Shape], weights: int, group: Group) -> bool:
        """Tell the memory that a step takes; whether there is as much."""
        processes, now, available = self.settings.launch.processes, memory.taken(group.device), memory.available(group.device)
        largest = max(shapes, key=lambda shape: shape.work.kept_of(shape.micro))
        kept = largest.work.kept_of(largest.micro)
        carry = carried([program for program, _ in self.parts], self.phases) // processes
        own = (now or 0) + 3 * weights + kept + carry
        self.report.fact(
            "memory",
            f"about {size_in_words(own)} a process, {size_in_words(kept)} of it for {largest.micro} rows"
            + ("" if available is None else f"; {size_in_words(available)} available"),
            memory_bytes=own,
            rows_memory_bytes=kept,
            available_bytes=available,
        )
        if available is None:
            return True
        fixed = processes * own - (now or 0) - processes * kept  # what this process holds now is not available any more
        fitting = (available - fixed - processes * largest.work.kept[0]) // max(1, processes * largest.work.kept[1])
        before = len(self.report.errors)
        self._require(fixed + processes * kept, available, f"steps with {largest.micro} rows at a time", max(0, fitting))
        return len(self.report.errors) == before

    def _tell_work(self, shapes: Sequence[_Shape]) -> None:
        order, trainer = Order(self.settings.seed, self.phases), self.settings.trainer
        tokens = order.tokens_before(order.steps - 1) + self.phases[-1].batch_size * self.phases[-1].sequence_length
        flops = sum(shape.flops * shape.phase.steps for shape in shapes)
        a_step = " then ".join(dict.fromkeys(_in_flops(shape.flops) for shape in shapes))
        passes = sum(phase.steps * phase.batch_size / len(rows) for phase, rows in zip(self.phases, self.rows, strict=True))
        self.report.fact(
            "work",
            f"{trainer.steps:,} steps, {tokens:,} tokens with padding, {passes:.2f} passes over the rows; "
            f"{a_step} a step, {_in_flops(flops)} in all",
            steps=trainer.steps,
            tokens=tokens,
            passes=passes,
            flops_per_step=[shape.flops for shape in shapes],
            flops=flops,
        )

    def _measure(self, shapes: Sequence[_Shape], module: Step, group: Group, precision: Precision) -> None:
        """Take real steps of every phase's shape, and tell how long the run will take."""
        found: dict[tuple[str | None, int, int, int | None], Measured] = {}
        rates = []
        for shape, (program, part) in zip(shapes, self.parts, strict=True):
            phase = shape.phase
            key = (part.name, phase.sequence_length, phase.batch_size, phase.micro_batch_size)
            if key not in found:
                shorter = replace(phase, batch_size=_measured_rows(shape), micro_batch_size=shape.micro)
                rows = rows_of(self.material.rows("train", program, shorter), part.name)
                found[key] = measure(module, part, rows, shorter, self.settings, precision, group)
            rates.append(found[key])
        self._tell_time(shapes, rates, group, precision)

    def _tell_time(self, shapes: Sequence[_Shape], rates: Sequence[Measured], group: Group, precision: Precision) -> None:
        trainer, processes = self.settings.trainer, self.settings.launch.processes
        steps = [shape.seconds(rate) for shape, rate in zip(shapes, rates, strict=True)]
        training = sum(seconds * shape.phase.steps for seconds, shape in zip(steps, shapes, strict=True))
        assert self.held_out is not None
        each = self.held_out.parts.values() if isinstance(self.held_out, PartedRows) else [self.held_out]
        most = trainer.evaluate_batches or 2**62
        batches = sum(min(math.ceil(len(rows) / self.last.batch_size), most) for rows in each)
        validations = math.ceil(trainer.steps / trainer.evaluate_every)
        validating = validations * batches * _FORTH * steps[-1]
        per_second = [processes * rate.tokens / rate.seconds for rate in rates]
        flops = shapes[0].flops / steps[0]
        partly = [rate.rows for shape, rate in zip(shapes, rates, strict=True) if rate.rows < shape.share]
        told = f"; by {min(partly)} rows of a step" if partly else ""
        self.report.fact(
            "speed",
            f"{' then '.join(f'{seconds:.3g} s' for seconds in dict.fromkeys(steps))} a step, {per_second[0]:,.0f} tokens/s, "
            f"{_in_flops(flops)}/s, in {precision} on {group.device} ({processes} × {torch.get_num_threads()} threads){told}",
            seconds_per_step=steps,
            tokens_per_second=per_second,
            device=str(group.device),
            precision=precision,
        )
        peak = max((rate.peak for rate in rates if rate.peak is not None), default=None)
        if peak is not None:
            text = self.report.facts["memory"]
            self.report.fact("memory", f"{text}; {size_in_words(peak)} in the steps taken", measured_memory_bytes=peak)
        self.report.fact(
            "time",
            f"about {duration(training)}, and {duration(validating)} for {counted(validations, 'validation')}",
            training_seconds=training,
            validation_seconds=validating,
        )


def _one_after_the_other(
    phases: Sequence[Phase], programs: Sequence[Trainable], seed: int
) -> tuple[tuple[Phase, ...], list[tuple[Trainable, Part]]]:
    """Divide the phases of a run by part: of a mixture, each part for as many steps as it is drawn, one after the other."""
    divided: list[tuple[Phase, tuple[Trainable, Part]]] = []
    for phase, program in zip(phases, programs, strict=True):
        looked_at = min(phase.steps, _DRAWN_STEPS)
        parts = program.parts
        drawn = Counter(parts.draw(seed, phase.first_step + step).name for step in range(looked_at))
        counted_steps = done = 0
        for part in parts.members:
            counted_steps += drawn[part.name]
            steps = round(phase.steps * counted_steps / looked_at) - done
            if steps:
                first = phase.first_step + done
                shorter = replace(phase, index=len(divided), first_step=first, steps=steps)
                divided.append((shorter, (program, part)))
                done += steps
    return tuple(phase for phase, _ in divided), [both for _, both in divided]


def examine_costs(material: Material, folder: RunFolder, checkpoint: Checkpoint | None, report: Report) -> None:
    """Build the model and take real steps; tell what is wrong on the way, and what the run will cost.

    Args:
        material: the run's data.
        folder: the run's, in which nothing is written.
        checkpoint: what the run would go on from.
        report: hears of everything.
    """
    costs = None
    with report.heard():
        costs = _Costs(material, folder, report)
    if costs is None:
        return
    with report.heard():
        costs.find_rows()
    with report.heard():
        costs.find_held_out()
    if checkpoint is not None:
        with report.heard():
            identity = Identity("", "", material.tokenizer.digest, material.digest)
            require_same_data(checkpoint, identity, material, folder)
    with report.heard():
        weights = costs.size_up()
        if costs.rows and costs.held_out is not None:
            costs.work(weights)


def _measured_rows(shape: _Shape) -> int:
    """Rows of a step that are taken: all, unless that would take too long; whole micro-batches where it can be."""
    rows = max(1, int(_PATIENCE / max(shape.work.seconds, 1e-9)))
    if rows >= shape.share:
        return shape.share
    return rows if rows <= shape.micro else rows // shape.micro * shape.micro


def _in_flops(count: float) -> str:
    for unit in ("", "k", "M", "G", "T", "P", "E"):
        if count < 1000:
            return f"{count:.3g} {unit}FLOP"
        count /= 1000
    return f"{count:.3g} ZFLOP"
