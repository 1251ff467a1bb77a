"""The assembly of a training process: group, learner, optimiser, checkpoints, reporter and trainer."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from rich.console import RenderableType

from plmtrain import backbones
from plmtrain.console import tell
from plmtrain.data.loading.order import check_divisible, plan_phases
from plmtrain.data.loading.plan import Plan
from plmtrain.errors import SettingsError
from plmtrain.files import atomic_folder
from plmtrain.interop.initial import Start
from plmtrain.optim import optimizer
from plmtrain.optim.shards import whole
from plmtrain.programs.learner import Learner
from plmtrain.programs.program import Trainable
from plmtrain.runs.best_speed import best_speed
from plmtrain.runs.learners import build_learner, embedded_tokens, inherit, load_teacher
from plmtrain.runs.material import Material
from plmtrain.runs.memory_need import carried, kept_beside, planned_learner, require_memory
from plmtrain.runs.micro_batches import MICRO_BATCHES, sizes_before, with_fitting_micro_batches
from plmtrain.runs.planning import Measurable, in_words, plan_of
from plmtrain.settings.identity import RESOLVED
from plmtrain.settings.run import RunSettings
from plmtrain.training import allocator
from plmtrain.training.average import WeightAverage
from plmtrain.training.checkpoint import Checkpoint
from plmtrain.training.checkpoint_manifest import Identity, versions
from plmtrain.training.compilation import uncompiled
from plmtrain.training.freezing import freeze, parameters_in_words
from plmtrain.training.group import Group
from plmtrain.training.hidden_matrices import hidden_matrices
from plmtrain.training.layer_rates import rate_shares, rates_in_words
from plmtrain.training.precision import UPDATE_TYPES, choose_precision, precision_reason
from plmtrain.training.progress import Progress
from plmtrain.training.progress_line import ProgressLine
from plmtrain.training.reporting import RunReporter
from plmtrain.training.run_folder import RunFolder
from plmtrain.training.state import TrainingState, checkpoint_size, load_result, load_weights
from plmtrain.training.step import Step
from plmtrain.training.trackers import Tracker
from plmtrain.training.trainer import Setup, Trainer


def train(material: Material, folder: RunFolder, settings_hash: str) -> Trainer:
    """Train a run in this process, which may be one of several, from its newest checkpoint to its end.

    Args:
        material: the run's data and programs.
        folder: the run's folder; the run's id is in its status already.
        settings_hash: the hash of the settings that change the result.

    Returns:
        The trainer, at the end of the run.
    """
    try:
        return _train(assemble(material, folder, settings_hash), material, folder)
    finally:
        material.release()


def _train(trainer: Trainer, material: Material, folder: RunFolder) -> Trainer:
    setup, settings = trainer.setup, trainer.setup.settings
    program, group = setup.programs[-1], setup.group
    try:
        trainer.run()
    finally:
        if setup.reporter is not None:
            setup.reporter.close()
            folder.write_status("running", **_facts(trainer.progress, trainer.plan.steps, program))
    step, best_step = trainer.progress.step, trainer.progress.best_step
    if trainer.state.average is not None:
        trainer.state.average.exchange()
    learner = trainer.state.learner if group.sharding == "none" else _whole_learner(trainer)
    if program.selection.decides and best_step not in (None, step):
        load_result(learner, setup.checkpoints.at(best_step))
    material.conclude(program, learner.eval(), setup.plan.phases[-1], group, folder.path)
    if group.is_main:
        ended = "all steps are done" if settings.trainer.hours is None else f"its {settings.trainer.hours:g} hours are used"
        reason = "stopped early: validation did not improve" if trainer.stopped_early else ended
        measured = folder.metrics().validation(best_step) if best_step is not None else {}
        shown = _closing(material, program, learner.eval().to("cpu"), trainer.progress.best_metric, measured)
        folder.write_status("finished", 0, reason, **_facts(trainer.progress, trainer.plan.steps, program))
        tell(*shown, *_curves(folder, settings), str(folder.path))
    trainer.module = group.unwrapped(trainer.module)
    group.close()
    return trainer


def _whole_learner(trainer: Trainer) -> Learner:
    """Return another learner, on the CPU, with the weights of a trainer whose learner is sharded. All processes must call it.

    Of the trainer nothing but its weights is left: the device need not hold its gradients, moments and average any more.
    """
    learner = trainer.state.learner
    trainer.state.optimizer.zero_grad()
    trainer.state.optimizer.state.clear()
    trainer.state.average = None
    alone = trainer.setup.programs[0].build(lambda model: backbones.build(model, learner.backbone.vocabulary_size))
    alone.load_state_dict({name: whole(tensor).cpu() for name, tensor in learner.state_dict().items()})
    return alone


def assemble(material: Material, folder: RunFolder, settings_hash: str) -> Trainer:
    """Build the trainer of a run in this process, and restore the run's newest checkpoint.

    Args:
        material, folder, settings_hash: as for ``train``.
    """
    allocator.tune()
    settings = material.settings
    group = Group(settings.trainer.device, settings.launch.timeout, settings.trainer.threads, settings.trainer.sharding)
    phases = plan_phases(settings.trainer)
    check_divisible(phases, group.size)  # with trainer.hours the loader of the steps knows no phase to come
    programs = material.programs(phases)
    token_embeddings = embedded_tokens(settings, material.tokenizer)
    teacher = load_teacher(settings, material.tokenizer, programs, group.device)
    group.wait()  # the teachers of all processes are in memory before any of them counts what is left
    planned = planned_learner(programs[0], token_embeddings)
    freeze(planned, settings.trainer.freeze)
    require_memory(settings, planned, programs[0], phases, group.device, group.holders)
    group.wait()  # before any process takes memory from the others' count
    starts: list[Start] = []
    learner = build_learner(settings, programs[0], token_embeddings, starts.append)
    opening = [*map(str, starts), *([] if teacher is None else [inherit(learner, programs[0], teacher)])]
    precision = choose_precision(settings.trainer.precision, group.device)
    taught_by = "" if teacher is None else teacher.digest
    identity = Identity(folder.run_id, settings_hash, material.tokenizer.digest, material.digest, taught_by)
    checkpoints = folder.checkpoints(
        settings.trainer.keep, identity, settings.trainer.milestones, settings.trainer.token_milestones
    )
    if group.is_main:
        checkpoints.clear_leftovers()
    group.wait()
    progress = Progress()
    checkpoint = checkpoints.newest(settings.resume.strict, report=tell if group.is_main else lambda line: None)
    if checkpoint is None:
        opening += material.begin(learner)
    else:
        require_same_data(checkpoint, identity, material, folder)
        load_weights(learner, checkpoint)
        progress = checkpoint.progress
    rows = [material.rows("train", program, phase) for program, phase in zip(programs, phases, strict=True)]
    before = None if checkpoint is None else sizes_before(folder.config(), settings, group)
    step = Step(learner, precision, teacher, keeps_casts=group.sharding == "none")
    if group.sharding == "none":
        learner.to(group.device)  # sharded weights go there in parts
    phases = with_fitting_micro_batches(phases, programs, rows, step, settings, group, group.size, before)
    resolved = {
        "precision": precision,
        "precision_reason": precision_reason(settings.trainer.precision, group.device),
        "threads": torch.get_num_threads(),
        "device": group.device.type,  # without its number, which depends on the processes alone
        "processes": group.size,
        "sharding": group.sharding,
        "torch": versions()["torch"],
        "vocabulary": token_embeddings,
    }
    if any(phase.fits_memory for phase in phases):
        resolved[MICRO_BATCHES] = sizes = [phase.micro_batch_size for phase in phases]
        opening.append(f"micro-batches of {' and '.join(map(str, dict.fromkeys(sizes)))} rows fit into memory")
    best = best_speed(settings, learner, phases, programs, rows, precision, group)
    opening += [] if best is None else [str(best)]
    module = group.wrap(step, learner.is_common)
    held_out = material.held_out_rows(programs[-1], phases[-1])
    log = folder.decisions_log()
    measurable = Measurable(module, learner, phases, programs, rows, held_out, precision, group)
    plan, progress, settings = plan_of(settings, progress, measurable, log)
    opening += in_words(plan, progress.used_seconds)
    average = None if settings.trainer.ema is None else WeightAverage(learner, settings.trainer.ema)
    shares = rate_shares(learner, settings.optimizer)
    opening += rates_in_words(shares)
    optimiser = optimizer.build(learner, settings.optimizer, shares, hidden_matrices(learner), UPDATE_TYPES[precision])
    state = TrainingState(learner, optimiser, {}, average)
    if checkpoint is not None:
        state.restore(checkpoint, group)
    # The other processes must have read the old settings and checkpoints before the main process replaces them.
    group.wait()

    reporter = None
    if group.is_main:
        # Twice, because the next checkpoint is written before the old one is deleted.
        checkpoints.require_space(2 * checkpoint_size(learner, kept_beside(settings), carried(programs, phases)))
        if checkpoint is not None:
            tell(f"resuming from step {progress.step}", *_environment_changes(folder, resolved))
        reporter = _reporter(material.with_settings(settings), folder, programs[-1], learner, resolved, progress, plan, opening)

    return Trainer(
        Setup(
            settings=settings,
            plan=plan,
            programs=programs,
            rows=material.training_rows(rows, programs, plan.phases, folder, group),
            held_out=held_out,
            unigram=material.unigram_losses(),
            precision=precision,
            group=group,
            checkpoints=checkpoints,
            reporter=reporter,
            machine_rate=None if best is None else best.flops_per_second,
            decisions=log if group.is_main else None,
        ),
        module,
        state,
        progress,
    )


def _curves(folder: RunFolder, settings: RunSettings) -> list[str]:
    """Name the files in which the curves of a run are."""
    lines = [f"curves: {folder.metrics_path}, a JSON object for each logged step"]
    if settings.tracker.type == "tensorboard":
        lines.append(f"        tensorboard --logdir {folder.trackers_path}")
    elif settings.tracker.type == "wandb":
        lines.append(f"        {folder.trackers_path}, the files of wandb ({settings.tracker.mode})")
    return lines


def _closing(
    material: Material, program: Trainable, learner: Learner, best: float | None, measured: Mapping[str, float]
) -> list[RenderableType]:
    """Return what the run shows at its end. The run's result is saved by then: a table that fails must not make it fail."""
    try:
        with uncompiled():
            return material.closing(program, learner, best, measured)
    except Exception:
        logging.getLogger("plmtrain").exception("the closing table failed")
        return ["the closing table could not be made: log.txt has the traceback"]


def require_same_data(saved: Checkpoint, now: Identity, material: Material, folder: RunFolder) -> None:
    """Refuse to resume with another tokenizer or teacher, or with data that were edited.

    Raises:
        SettingsError: if they differ from those that the run started with, and ``resume.allow`` does not name them.
    """
    if saved.identity.tokenizer_digest != now.tokenizer_digest:
        raise SettingsError(
            "the tokenizer is not the one that the run began with",
            f"tokenizer {now.tokenizer_digest[:16]} instead of {saved.identity.tokenizer_digest[:16]}",
            "restore the tokenizer or the text that it was trained on, or start another run with another name=",
        )
    if saved.identity.teacher_digest != now.teacher_digest and "teacher" not in material.settings.resume.allow:
        raise SettingsError(
            "the teacher's weights have changed since the run began",
            f"weights {now.teacher_digest[:16]} instead of {saved.identity.teacher_digest[:16]}",
            "restore them, start another run with another name=, or accept another result with resume.allow=[teacher]",
        )
    allowed = any(key.partition(".")[0] == "data" for key in material.settings.resume.allow)
    if saved.identity.data_digest != now.data_digest and not allowed:
        raise SettingsError(
            "the data have changed since the run began",
            ", ".join(material.changes(folder.path)[:4]),
            "restore them, start another run with another name=, or accept another result with resume.allow=[data.files]",
        )


def _environment_changes(folder: RunFolder, resolved: dict[str, Any]) -> list[str]:
    """Describe how this process's environment differs from that of the run's start: results may differ in the last bits."""
    before = folder.config().get(RESOLVED) or {}
    before = {key: _kind_of_device(str(value)) if key == "device" else value for key, value in before.items()}
    return [
        f"{key} was {before[key]} and is {now}: the rest of the run may differ from an uninterrupted one in the last bits"
        for key, now in resolved.items()
        if key in before and before[key] != now
    ]


def _kind_of_device(device: str) -> str:
    """Return ``cpu`` of ``cpu:0``, as runs of version 0.1 recorded it."""
    return device.partition(":")[0]


def _reporter(
    material: Material,
    folder: RunFolder,
    program: Trainable,
    learner: Learner,
    resolved: dict[str, Any],
    progress: Progress,
    plan: Plan,
    begun: Sequence[str],
) -> RunReporter:
    """Write the run's settings, status, tokenizer and data manifest, and open all outputs of its progress."""
    settings = material.settings
    values = settings.model_dump(mode="json")
    folder.write_config({**values, RESOLVED: resolved})
    folder.write_status("running", **_facts(progress, plan.steps, program))
    if not folder.tokenizer_path.exists():
        with atomic_folder(folder.tokenizer_path) as temporary:
            material.tokenizer.save(temporary)
    material.keep(folder.path)
    metrics = folder.metrics()
    metrics.keep_until(progress.step)
    line = ProgressLine(
        plan.steps,
        first_step=progress.step,
        advice="" if plan.decisions else _advice(settings, str(resolved["device"])),
        baseline=program.parts.main.baseline,
    )
    tracker = Tracker(
        settings.tracker,
        folder.trackers_path,
        name=folder.path.name,
        config=values,
        first_step=progress.step,
        warn=line.note,
    )
    opening = [
        f"{folder.path.name}: {parameters_in_words(learner)}, {resolved['precision']} ({resolved['precision_reason']}) on "
        f"{resolved['device']} ({resolved['processes']} × {resolved['threads']} threads)",
        *begun,
        material.opening(),
        *(f"{finding.what}: {finding.remedy}" for finding in material.tokenizer_findings()),
    ]
    line.note("\n".join(opening))
    return RunReporter(folder, metrics, line, tracker)


def _advice(settings: RunSettings, device: str) -> str:
    """Return what would be quicker than a long run."""
    smaller = [] if settings.init is not None else ["a smaller model (size=tiny)"]
    elsewhere = ["a GPU"] if device == "cpu" else []
    ways = [*smaller, "shorter rows (trainer.sequence_length)", "fewer trainer.steps", *elsewhere]
    return f"quicker: {', '.join(ways)}; plmtrain check estimates a run before it starts"


def _facts(progress: Progress, steps: int, program: Trainable) -> dict[str, Any]:
    return {
        "step": progress.step,
        "total_steps": steps,
        "best_step": progress.best_step,
        "result_step": progress.best_step if program.selection.decides else progress.step,
    }
