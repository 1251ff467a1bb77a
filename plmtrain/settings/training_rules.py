"""Rules of how a run trains: the combinations of a trainer, a model, an optimiser and a schedule that are impossible."""

from __future__ import annotations

from collections.abc import Iterator

from plmtrain.settings.models.base import ModelSettings
from plmtrain.settings.optimizer import OptimizerSettings, ScheduleSettings
from plmtrain.settings.run import LaunchSettings
from plmtrain.settings.trainer import AUTO, PhaseSettings, TrainerSettings, frozen_layers
from plmtrain.settings.wording import Broken, Rule


def _frozen_layers_exist(model: ModelSettings, trainer: TrainerSettings) -> Iterator[Broken]:
    blocks: int | None = getattr(model, "blocks", None)
    if blocks is None:
        return
    for name in trainer.freeze:
        if any(number >= blocks for number in frozen_layers(name)):
            layers = "one layer, 0" if blocks == 1 else f"the layers 0 to {blocks - 1}"
            yield "trainer.freeze", f"trainer.freeze names {name}; model={model.name} has {layers}", "name layers that it has"


def _new_layers_exist(model: ModelSettings, trainer: TrainerSettings, init: str | None) -> Iterator[Broken]:
    wanted, last, blocks = trainer.reinitialise_layers, getattr(model, "last_blocks", None), getattr(model, "blocks", None)
    if not wanted or last is None or blocks is None:
        return
    key = "trainer.reinitialise_layers"
    if init is None:
        yield (
            key,
            "without init= all layers start from random weights",
            f"omit {key}, or name what to start from: init=RUN_OR_FOLDER",
        )
    elif wanted > last:
        layers = "one layer" if last == 1 else f"{last} layers"
        yield key, f"{key} is {wanted}; model={model.name} has {layers} before its heads", f"write {key}={last} or less"
    elif frozen := [name for name in trainer.freeze if any(number >= blocks - wanted for number in frozen_layers(name))]:
        yield (
            key,
            f"{key}={wanted} makes layers new that trainer.freeze={frozen[0]} does not train",
            "freeze lower layers, or renew fewer",
        )


def _recurrence_is_not_compiled(model: ModelSettings, trainer: TrainerSettings) -> Iterator[Broken]:
    if trainer.compile and model.kind == "bilstm":
        what = f"model={model.name} has a recurrence of its own, which a compiler would unroll: minutes for each length of rows"
        yield "trainer.compile", what, "omit trainer.compile"


def _muon_has_matrices(model: ModelSettings, optimizer: OptimizerSettings, trainer: TrainerSettings) -> Iterator[Broken]:
    if optimizer.type != "muon":
        return
    if model.kind == "bilstm":
        what = f"optimizer.type=muon is for the linear layers of Transformers; model={model.name} has a recurrence"
        yield "optimizer.type", what, "write optimizer=adagrad, or optimizer=adamw"
    if trainer.sharding != "none":
        what = "optimizer.type=muon needs whole matrices, of which each process would hold some rows"
        yield "optimizer.type", what, "write optimizer=adamw, or trainer.sharding=none"


def _shards_are_known_before(trainer: TrainerSettings) -> Iterator[Broken]:
    if trainer.sharding == "none":
        return
    if trainer.precision == "fp16":
        what = "fp16 scales the loss, and each process would change the scale by the overflows among its own rows of the weights"
        yield "trainer.precision", what, "write trainer.precision=bf16, which needs no scale, or trainer.sharding=none"
    if trainer.micro_batch_size == AUTO:
        what = "the micro-batch that fits is tried before the weights are divided among processes, when they may not fit at all"
        yield "trainer.micro_batch_size", what, "write a number, or trainer.sharding=none"


def _batches_divide(trainer: TrainerSettings, launch: LaunchSettings) -> Iterator[Broken]:
    shapes = [("trainer", trainer.batch_size, trainer.micro_batch_in(PhaseSettings()))]
    by_factor = {f"trainer.phases.{index}" for index, phase in enumerate(trainer.phases) if phase.token_factor is not None}
    for index, phase in enumerate(trainer.phases):
        if (phase.batch_size, phase.token_factor, phase.micro_batch_size) != (None, None, None):
            shapes.append((f"trainer.phases.{index}", trainer.batch_in(phase), trainer.micro_batch_in(phase)))
    for place, batch, micro in shapes:
        if batch % launch.processes:
            near = max(1, round(batch / launch.processes)) * launch.processes
            yield (
                f"{place}.batch_size",
                f"{place}.batch_size ({batch}) cannot be divided among launch.processes={launch.processes}",
                f"write {place}.batch_size={near}" + (" instead of token_factor" if place in by_factor else ""),
            )
        if micro is not None and micro > batch:
            yield (
                f"{place}.micro_batch_size",
                f"{place}.micro_batch_size ({micro}) is more than the batch ({batch})",
                f"lower {place}.micro_batch_size: it is a part of the batch, and changes memory alone (with dropout, the masks)",
            )


def _schedule_fits(schedule: ScheduleSettings, trainer: TrainerSettings) -> Iterator[Broken]:
    if trainer.epochs is not None or trainer.hours is not None:
        return  # the steps are not known yet
    warmup = schedule.warmup if schedule.warmup >= 1 else schedule.warmup * trainer.steps
    if schedule.warmup >= trainer.steps:
        yield (
            "schedule.warmup",
            f"schedule.warmup ({schedule.warmup:g} steps) leaves no step of trainer.steps={trainer.steps}",
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


TRAINING_RULES: tuple[Rule, ...] = (
    (("model", "trainer"), _frozen_layers_exist),
    (("model", "trainer", "init"), _new_layers_exist),
    (("model", "trainer"), _recurrence_is_not_compiled),
    (("model", "optimizer", "trainer"), _muon_has_matrices),
    (("trainer",), _shards_are_known_before),
    (("trainer", "launch"), _batches_divide),
    (("schedule", "trainer"), _schedule_fits),
)
"""The groups that each rule compares, and the rule."""
