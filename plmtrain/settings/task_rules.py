"""Rules between a task and other groups of settings: the combinations that are impossible."""

from __future__ import annotations

from collections.abc import Iterator

from plmtrain.settings.data import TableSettings
from plmtrain.settings.models.base import ModelSettings
from plmtrain.settings.optimizer import OptimizerSettings
from plmtrain.settings.tasks.base import HeadTaskSettings, RowTaskSettings, SentenceTaskSettings, TaskSettings, WordedTaskSettings
from plmtrain.settings.taught_task import TaughtTaskSettings
from plmtrain.settings.trainer import TrainerSettings
from plmtrain.settings.wording import Broken, Rule


def _task_fits_model(model: ModelSettings, task: TaskSettings) -> Iterator[Broken]:
    if model.family not in task.families:
        reason = task.why_not(model.family)
        yield (
            "task.type",
            f"task={task.name} has no head for models of family {model.family}{'' if reason is None else f': {reason}'}",
            f"start from a model of family {', '.join(sorted(task.families))}",
        )


def _task_reads_as_model(model: ModelSettings, task: TaskSettings) -> Iterator[Broken]:
    """Check the settings that have a meaning for decoders only."""
    if model.kind == "decoder" or not isinstance(task, RowTaskSettings):
        return
    if isinstance(task, SentenceTaskSettings) and task.symmetric:
        what = f"task.symmetric has no meaning for model={model.name}, which sees both texts from each"
        yield "task.symmetric", what, "omit it, or start from a decoder, such as gpt1"
    if task.lm_weight:
        what = f"model={model.name} is no decoder, and has no language-model loss on the rows of a task"
        yield "task.lm_weight", what, "omit it, or start from a decoder, such as gpt1"


def _mix_is_whole(model: ModelSettings, task: TaskSettings, trainer: TrainerSettings) -> Iterator[Broken]:
    if trainer.sharding != "none" and isinstance(task, HeadTaskSettings) and task.mixes(model.published):
        what = (
            f"task={task.name} trains a mix of the layers of a model that stays as it is: single numbers have no rows to divide"
        )
        yield "trainer.sharding", what, "write trainer.sharding=none"


def _task_is_answered_as_model(model: ModelSettings, task: TaskSettings) -> Iterator[Broken]:
    """Check how a task is answered that has two ways, and the settings of the other way."""
    if not isinstance(task, WordedTaskSettings) or model.family not in task.families:
        return
    if model.kind != "encoder_decoder" and not task.has_head:
        what = f"model={model.name} has no decoder that would write words about what an encoder reads"
        yield "task.answers", what, "omit it, or start from an encoder-decoder, such as t5_small"
        return
    task = task.of_family(model.published)
    if task.has_head and model.published.head is None:
        what = f"models of family {model.family} have no head for sentences: they write their answers"
        yield "task.answers", what, "write task.answers=words, or omit it"
    elif not task.has_head and getattr(model, "languages", None):
        what = f"model={model.name} has languages, and task={task.name} says none"
        yield "task.answers", what, "write task=sequence_to_sequence task.languages=[...], with the words as targets"
    if not task.has_head and (needing := getattr(task, "of_all_answers", ())):
        what = f"task.metrics has {needing[0]}, and model={model.name} writes words, without probabilities or groups"
        yield "task.metrics", what, "write task.metrics=[accuracy,f1]"
    idle = task.of_words if task.has_head else task.of_head
    for key in sorted(idle):
        if getattr(task, key) != type(task).model_fields[key].get_default(call_default_factory=True):
            how = "by a head" if task.has_head else "in words"
            yield (
                f"task.{key}",
                f"task.{key} has no effect: model={model.name} answers task={task.name} {how}",
                f"omit task.{key}",
            )


def _first_state_sees_row(model: ModelSettings, task: TaskSettings) -> Iterator[Broken]:
    if getattr(model, "causal", False) and isinstance(task, SentenceTaskSettings) and model.published.reads == "first":
        what = f"the head of task={task.name} reads the first state of a row, which in model={model.name} sees no other"
        yield "model.causal", what, "write model.causal=false: the weights fit"


def _task_mixes_layers(model: ModelSettings, task: TaskSettings) -> Iterator[Broken]:
    """Check the settings of features that are mixed from all layers."""
    if not isinstance(task, HeadTaskSettings) or not task.has_head:
        return
    if not task.mixes(model.published):
        for key in ("mix_layers", "mix_norm", "mix_l2"):
            if getattr(task, key):
                what = f"task.{key} is of a mix of layers, and the head reads the last states of model={model.name}"
                yield f"task.{key}", what, "omit it, or write task.features=mix"
    elif getattr(task, "lm_weight", None):
        what = f"task.lm_weight has no meaning: the head reads a mix of the layers of model={model.name}, which stay as they are"
        yield "task.lm_weight", what, "omit it, or write task.features=states"
    elif model.kind == "encoder_decoder":
        what = f"the layers of model={model.name} cannot be mixed: it has those of an encoder and those of a decoder"
        yield "task.features", what, "write task.features=states"
    elif task.mix_layers is not None and max(task.mix_layers) > (last := getattr(model, "layers", 0)):
        what = f"task.mix_layers names layer {max(task.mix_layers)}, and model={model.name} has layers 0 to {last}"
        yield "task.mix_layers", what, "layer 0 is that of the embeddings"


def _mixed_layers_stay(
    model: ModelSettings, task: TaskSettings, optimizer: OptimizerSettings, trainer: TrainerSettings
) -> Iterator[Broken]:
    """Refuse settings of layers that are trained where the head reads a mix of layers that are not."""
    if isinstance(task, HeadTaskSettings) and task.mixes(model.published):
        what = f"has no meaning: the head reads a mix of the layers of model={model.name}, which stay as they are"
        if optimizer.layer_decay != 1:
            yield "optimizer.layer_decay", f"optimizer.layer_decay {what}", "omit it, or write task.features=states"
        for key in ("reinitialise_layers", "freeze"):
            if getattr(trainer, key):
                yield f"trainer.{key}", f"trainer.{key} {what}", "omit it, or write task.features=states"
    elif getattr(task, "trains", "all") == "source" and trainer.reinitialise_layers:
        what = "new layers would stay random: with task.trains=source only the encoder of the source is trained"
        yield "trainer.reinitialise_layers", what, "omit it, or write task.trains=all"


def _task_has_examples(task: TaskSettings, data: TableSettings) -> Iterator[Broken]:
    if task.names_files:
        for key in ("files", "validation_files"):
            if getattr(data, key):
                what = f"data.{key} has no effect: each of the tasks of task={task.name} names its own"
                yield f"data.{key}", what, f"write task.tasks.NAME.{key}=[...]"
    elif not data.files and not task.from_hub:
        yield (
            "data.files",
            f"there is nothing to train task={task.name} on",
            "name your files: data.files=[train.tsv] data.validation_files=[dev.tsv]; plmtrain list task has public datasets",
        )


def _task_has_no_phases(task: TaskSettings, trainer: TrainerSettings) -> Iterator[Broken]:
    if trainer.phases:
        yield "trainer.phases", "phases are for pretraining", f"omit trainer.phases: task={task.name} has one phase"


def _task_counts_nothing(task: TaskSettings, trainer: TrainerSettings) -> Iterator[Broken]:
    if trainer.start != "random":
        what = f"trainer.start={trainer.start} counts the text of a pretraining run"
        yield "trainer.start", what, f"omit trainer.start; init=RUN gives task={task.name} a start"


def _source_fits_model(model: ModelSettings, task: TaskSettings) -> Iterator[Broken]:
    if getattr(task, "source_layers", 0) and model.type != "encoder_decoder":
        what = f"model={model.name} cannot have another encoder in front of its own"
        yield "task.source_layers", what, "omit it, or start from a model of type encoder_decoder, such as bart"


def _answers_fit_model(model: ModelSettings, task: TaskSettings) -> Iterator[Broken]:
    for name, length in task.lengths.items():
        if length > model.positions:
            what = f"task.{name} ({length}) is more than model={model.name} takes ({model.positions})"
            yield f"task.{name}", what, f"lower task.{name}, or raise model.positions"


def _task_names_languages(model: ModelSettings, task: TaskSettings) -> Iterator[Broken]:
    known: tuple[str, ...] = getattr(model, "languages", ()) if model.kind == "encoder_decoder" else ()
    try:
        task.language_numbers(known)
    except ValueError as error:
        remedy = f"write task.languages=[{','.join(known[:2])}]" if known else "omit task.languages"
        yield "task.languages", f"{error} (model={model.name})", remedy


def _teacher_teaches_task(task: TaskSettings, teacher: str | None) -> Iterator[Broken]:
    if not isinstance(task, TaughtTaskSettings):
        if teacher is not None:
            yield "teacher", f"task={task.name} has no loss that reads a teacher", "omit teacher="
        return
    if teacher is None:
        for key in task.of_teachers:
            if getattr(task, key) is not None:
                what = f"task.{key} is of a loss that reads a teacher, and none is named"
                yield f"task.{key}", what, "omit it, or write teacher=RUN_OR_FOLDER: a fine-tuned model of the same task"


def _answers_can_be_taught(model: ModelSettings, task: TaskSettings, teacher: str | None) -> Iterator[Broken]:
    """Refuse a teacher of answers that are compared with the right ones alone."""
    if teacher is None or not isinstance(task, TaughtTaskSettings):
        return
    if not task.of_family(model.published).has_head:
        yield (
            "teacher",
            f"model={model.name} writes its answers to task={task.name}, and learns from the right ones",
            "omit teacher=",
        )
    elif getattr(task, "multi_label", False):
        yield "teacher", "several labels a text are learnt from the right ones alone", "omit teacher=, or task.multi_label"


TASK_RULES: tuple[Rule, ...] = (
    (("model", "task"), _task_fits_model),
    (("model", "task"), _task_reads_as_model),
    (("model", "task"), _task_is_answered_as_model),
    (("model", "task"), _first_state_sees_row),
    (("model", "task"), _answers_fit_model),
    (("model", "task"), _source_fits_model),
    (("model", "task"), _task_names_languages),
    (("model", "task"), _task_mixes_layers),
    (("model", "task", "trainer"), _mix_is_whole),
    (("model", "task", "optimizer", "trainer"), _mixed_layers_stay),
    (("task", "data"), _task_has_examples),
    (("task", "trainer"), _task_has_no_phases),
    (("task", "trainer"), _task_counts_nothing),
    (("task", "teacher"), _teacher_teaches_task),
    (("model", "task", "teacher"), _answers_can_be_taught),
)
"""The groups that each rule compares, and the rule."""
