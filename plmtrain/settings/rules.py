"""The rules between groups of settings: what a model, an objective, a tokenizer and a trainer cannot do together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from plmtrain.settings.data import DataSettings, TableSettings
from plmtrain.settings.models.base import ModelSettings
from plmtrain.settings.objectives.base import ObjectiveSettings
from plmtrain.settings.optimizer import ScheduleSettings
from plmtrain.settings.run import LaunchSettings
from plmtrain.settings.tasks.base import TaskSettings
from plmtrain.settings.tokenizer import ROLES, TokenizerSettings
from plmtrain.settings.trainer import TrainerSettings
from plmtrain.settings.wording import what_is_wrong

Broken = tuple[str, str, str]
"""The key at which a broken rule is told, what is wrong, and what to do."""


def _objective_fits_model(model: ModelSettings, objective: ObjectiveSettings) -> Iterator[Broken]:
    if model.kind not in objective.backbones:
        kinds = " or ".join(sorted(objective.backbones))
        yield (
            "objective.type",
            f"objective={objective.name} needs a backbone of kind {kinds}; model={model.name} is of kind {model.kind}",
            "plmtrain list matrix shows which objective goes with which model",
        )


def _task_fits_model(model: ModelSettings, task: TaskSettings) -> Iterator[Broken]:
    if model.family not in task.families:
        yield (
            "task.type",
            f"task={task.name} has no head for models of family {model.family}",
            f"start from a model of family {', '.join(sorted(task.families))}",
        )


def _task_has_examples(task: TaskSettings, data: TableSettings) -> Iterator[Broken]:
    if not data.files and not task.from_hub:
        yield (
            "data.files",
            f"there is nothing to train task={task.name} on",
            "name your files: data.files=[train.tsv] data.validation_files=[dev.tsv]; plmtrain list task has public datasets",
        )


def _task_has_no_phases(task: TaskSettings, trainer: TrainerSettings) -> Iterator[Broken]:
    if trainer.phases:
        yield "trainer.phases", "phases are for pretraining", f"leave them away: task={task.name} has one phase"


def _pairs_are_seen_whole(objective: ObjectiveSettings, data: DataSettings) -> Iterator[Broken]:
    if objective.reads == "segment_pairs" and data.isolate_documents:
        yield (
            "data.isolate_documents",
            f"objective={objective.name} compares two segments, which may be of two documents: each must see the other",
            "leave data.isolate_documents away",
        )


def _pairs_fill_rows(objective: ObjectiveSettings, trainer: TrainerSettings) -> Iterator[Broken]:
    if objective.reads != "segment_pairs":
        return
    shortest = 6  # two tokens of text and the special ones around them, of which RoBERTa has four
    named = [(f"trainer.phases.{index}.sequence_length", phase.sequence_length) for index, phase in enumerate(trainer.phases)]
    for key, length in [("trainer.sequence_length", trainer.sequence_length), *named]:
        if length is not None and length < shortest:
            yield key, f"{key} ({length}) has no room for two segments", f"write {key}={shortest} or more"


def _tokenizer_has_roles(program: ObjectiveSettings | TaskSettings, tokenizer: TokenizerSettings) -> Iterator[Broken]:
    missing = program.roles - ROLES[tokenizer.family]
    if tokenizer.path is None and missing:
        able = ", ".join(family for family, roles in ROLES.items() if program.roles <= roles)
        group = "task" if isinstance(program, TaskSettings) else "objective"
        yield (
            "tokenizer.family",
            f"{group}={program.name} needs tokens that family {tokenizer.family} lacks: {', '.join(sorted(missing))}",
            f"tokenizer.family must be one of: {able}",
        )


def _sequences_fit_model(model: ModelSettings, trainer: TrainerSettings) -> Iterator[Broken]:
    wanted = [("trainer.sequence_length", trainer.sequence_length)]
    wanted += [
        (f"trainer.phases.{index}.sequence_length", phase.sequence_length)
        for index, phase in enumerate(trainer.phases)
        if phase.sequence_length is not None
    ]
    for key, length in wanted:
        if length > model.positions:
            yield (
                key,
                f"{key} ({length}) is more than model={model.name} takes ({model.positions})",
                f"lower {key}, or raise model.positions",
            )


def _batches_divide(trainer: TrainerSettings, launch: LaunchSettings) -> Iterator[Broken]:
    shapes = [("trainer", trainer.batch_size, trainer.micro_batch_size)]
    for index, phase in enumerate(trainer.phases):
        if phase.batch_size is not None or phase.micro_batch_size is not None:
            shapes.append(
                (
                    f"trainer.phases.{index}",
                    phase.batch_size or trainer.batch_size,
                    phase.micro_batch_size or trainer.micro_batch_size,
                )
            )
    for place, batch, micro in shapes:
        if batch % launch.processes:
            near = max(1, round(batch / launch.processes)) * launch.processes
            yield (
                f"{place}.batch_size",
                f"{place}.batch_size ({batch}) cannot be divided among launch.processes={launch.processes}",
                f"write {place}.batch_size={near}",
            )
        if micro is not None and micro > batch:
            yield (
                f"{place}.micro_batch_size",
                f"{place}.micro_batch_size ({micro}) is more than the batch ({batch})",
                f"lower {place}.micro_batch_size: it is a part of the batch, and changes memory, never the result",
            )


def _schedule_fits(schedule: ScheduleSettings, trainer: TrainerSettings) -> Iterator[Broken]:
    if trainer.epochs is not None:
        return  # the steps are not known yet
    warmup = schedule.warmup if schedule.warmup >= 1 else schedule.warmup * trainer.steps
    if schedule.warmup >= trainer.steps:
        yield (
            "schedule.warmup",
            f"schedule.warmup ({schedule.warmup:g} steps) leaves nothing of trainer.steps={trainer.steps}",
            "lower it, raise trainer.steps, or give a share of all steps, such as schedule.warmup=0.06",
        )
    elif schedule.type == "warmup_stable_decay":
        decay = schedule.decay if schedule.decay >= 1 else schedule.decay * trainer.steps
        if warmup + decay > trainer.steps:
            yield (
                "schedule.decay",
                f"schedule.warmup ({warmup:g} steps) and schedule.decay ({decay:g}) are more than trainer.steps={trainer.steps}",
                "lower one of them, or raise trainer.steps",
            )


def _phases_fit_objective(objective: ObjectiveSettings, trainer: TrainerSettings) -> Iterator[Broken]:
    for index, phase in enumerate(trainer.phases):
        place = f"trainer.phases.{index}.objective"
        for fixed in {"type", "name"} & phase.objective.keys():
            yield (
                f"{place}.{fixed}",
                f"a phase cannot change objective.{fixed}",
                "a phase changes settings of the one objective of the run",
            )
        changed = {key: value for key, value in phase.objective.items() if key not in ("type", "name")}
        try:
            type(objective).model_validate({**objective.model_dump(), **changed})
        except ValidationError as error:
            valid = [f"{place}.{name}" for name in type(objective).model_fields if name not in ("type", "name")]
            yield from ((key, what, remedy) for key, (what, remedy) in what_is_wrong(error, valid, f"{place}.").items())


_RULES: tuple[tuple[tuple[str, ...], Callable[..., Iterator[Broken]]], ...] = (
    (("model", "objective"), _objective_fits_model),
    (("objective", "tokenizer"), _tokenizer_has_roles),
    (("task", "tokenizer"), _tokenizer_has_roles),
    (("model", "trainer"), _sequences_fit_model),
    (("trainer", "launch"), _batches_divide),
    (("schedule", "trainer"), _schedule_fits),
    (("objective", "trainer"), _phases_fit_objective),
    (("objective", "data"), _pairs_are_seen_whole),
    (("objective", "trainer"), _pairs_fill_rows),
    (("model", "task"), _task_fits_model),
    (("task", "data"), _task_has_examples),
    (("task", "trainer"), _task_has_no_phases),
)


def broken_rules(sections: Mapping[str, Any]) -> Iterator[Broken]:
    """Every rule that is broken, among those whose groups could be decoded."""
    for names, rule in _RULES:
        if all(name in sections for name in names):
            yield from rule(*(sections[name] for name in names))
