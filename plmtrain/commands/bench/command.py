"""``plmtrain bench``: take steps of a run in one process, and report their speed. Nothing is written but prepared data."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace

import torch

from plmtrain import stopping
from plmtrain.commands.bench.peer import LIBRARY, beside, require_peer
from plmtrain.commands.bench.report import Report, StepSpeed
from plmtrain.console import counted, print_json, tell
from plmtrain.data.loading.order import plan_phases
from plmtrain.data.rows.rows import rows_of
from plmtrain.errors import SettingsError
from plmtrain.runs.command_settings import settings_for
from plmtrain.runs.learners import build_learner, embedded_tokens, inherit, load_teacher
from plmtrain.runs.material import Material
from plmtrain.runs.materials import material_of
from plmtrain.runs.memory_need import planned_learner, require_memory
from plmtrain.runs.micro_batches import with_fitting_micro_batches
from plmtrain.runs.preparation import preparation_report
from plmtrain.runs.step_shapes import StepShape, divide_by_part
from plmtrain.settings.run import FinetuneSettings, PretrainSettings, RunSettings
from plmtrain.training import allocator
from plmtrain.training.compilation import compile_blocks, uncompiled
from plmtrain.training.costs import WARM_UP, measure, work_of
from plmtrain.training.group import Group
from plmtrain.training.machine import block_rate, process_age
from plmtrain.training.precision import choose_precision, precision_reason
from plmtrain.training.step import Step

_SECONDS = 15.0
"""How long the steps of a shape are measured, about."""
_FEWEST, _MOST = 3, 50
"""Steps that are measured."""
_AGAINST = "against="


def run(arguments: list[str]) -> int:
    """Measure a run, and print what was measured.

    Raises:
        SettingsError: for a run in several processes.
        PlmtrainError: whatever would end the run before its first step.
    """
    peers = [word for word in arguments if word.startswith(_AGAINST)]
    if wrong := [word for word in peers if word != f"{_AGAINST}{LIBRARY}"]:
        what = "bench compares with transformers alone"
        raise SettingsError(what, f"command line: {wrong[0][:120]}", f"write {_AGAINST}{LIBRARY}, or omit it")
    settings = settings_for("bench", [word for word in arguments if word not in ("--json", "--markdown", *peers)])
    if settings.launch.processes > 1:
        what = "bench measures one process"
        raise SettingsError(what, f"launch.processes={settings.launch.processes}", "omit launch.processes")
    with preparation_report() as on_update:
        material = material_of(settings, on_update)
    # A comparison ends between two steps: it has a folder to remove.
    with nullcontext() if peers else stopping.ending_at_once():
        report = _measured(material, compared=bool(peers))
    if "--json" in arguments:
        print_json(report.as_json())
    elif "--markdown" in arguments:
        tell(report.markdown())
    else:
        tell(report.table(), *report.lines())
    return 0


def _measured(material: Material, *, compared: bool) -> Report:
    """Build the learner of a run, and take steps of each of its shapes, in turn with a peer's if it is compared."""
    settings = material.settings
    whole = plan_phases(settings.trainer)
    programs = material.programs(whole)
    if compared:
        require_peer(programs)
    allocator.tune()
    group = Group(settings.trainer.device, settings.launch.timeout, settings.trainer.threads)
    precision = choose_precision(settings.trainer.precision, group.device)
    tokens = embedded_tokens(settings, material.tokenizer)
    teacher = load_teacher(settings, material.tokenizer, programs, group.device)
    require_memory(settings, planned_learner(programs[0], tokens), programs[0], whole, group.device, holders=1)
    eager = settings.model_copy(update={"trainer": settings.trainer.model_copy(update={"compile": False})})
    learner = build_learner(eager, programs[0], tokens)
    if teacher is not None:
        inherit(learner, programs[0], teacher)
    module = Step(learner.to(group.device), precision, teacher)
    if any(phase.fits_memory for phase in whole):
        whole_rows = [material.rows("train", program, phase) for program, phase in zip(programs, whole, strict=True)]
        whole = with_fitting_micro_batches(whole, programs, whole_rows, module, settings, group, group.size)
    phases, parts = divide_by_part(whole, programs, settings.seed)
    sources = [
        rows_of(material.rows("train", program, phase), part.name) for (program, part), phase in zip(parts, phases, strict=True)
    ]
    phases = tuple(replace(phase, micro_batch_size=phase.micro_batch_size or phase.batch_size) for phase in phases)
    if settings.trainer.compile:
        compile_blocks(learner, ragged=programs[0].parts.are_ragged)
    ages: list[float | None] = []  # before each step
    tried = [
        measure(module, part, rows, phase, settings, precision, group, 1, lambda: ages.append(process_age()))
        for phase, (_, part), rows in zip(phases, parts, sources, strict=True)
    ]
    with uncompiled():
        shapes = [
            StepShape(phase, phase.batch_size, phase.micro_batch_size or phase.batch_size, work)
            for phase, (_, part), rows in zip(phases, parts, sources, strict=True)
            for work in [work_of(module, part, rows, group.device, settings.seed)]
        ]
    speeds = []
    with beside(material, learner, precision, group.device) if compared else nullcontext() as peer:
        for shape, before, (_, part), rows in zip(shapes, tried, parts, sources, strict=True):
            phase = shape.phase
            steps = min(max(round(_SECONDS / before.seconds), _FEWEST), _MOST)
            if peer is not None:
                peer.begin(part, rows, phase, WARM_UP + steps)
            turn = _nothing if peer is None else peer.step
            measured = measure(module, part, rows, phase, settings, precision, group, steps, turn)
            speeds.append(
                StepSpeed(
                    part=part.name,
                    rows=phase.batch_size,
                    length=phase.sequence_length,
                    micro_batch_size=shape.micro,
                    steps=steps,
                    seconds=measured.seconds,
                    tokens_per_second=measured.tokens / measured.seconds,
                    flops_per_second=shape.flops / measured.seconds,
                    machine_flops_per_second=block_rate(
                        settings.model,
                        learner.backbone.width,
                        shape.micro * phase.sequence_length,
                        precision,
                        group.device,
                    ),
                    loading_share=measured.loading / measured.seconds,
                    peak_bytes=measured.peak,
                    peer=None if peer is None else peer.end(),
                )
            )
    threads = counted(torch.get_num_threads(), "thread")
    return Report(
        subject=_subject(settings),
        machine=f"{precision} ({precision_reason(settings.trainer.precision, group.device)}) on {group.device}, {threads}",
        parameters=sum(weight.numel() for weight in learner.parameters()),
        seconds_to_first_step=ages[1],  # before the second step the first has ended
        speeds=speeds,
    )


def _nothing() -> None:
    """Do nothing between two steps."""


def _subject(settings: RunSettings) -> str:
    if isinstance(settings, FinetuneSettings):
        return f"task={settings.task.name} model={settings.model.name}"
    assert isinstance(settings, PretrainSettings)
    return f"objective={settings.objective.name} model={settings.model.name}"
