"""Rules between groups of settings: the combinations of a model, an objective, a tokenizer and a trainer that are impossible."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from plmtrain.errors import closest
from plmtrain.families import TOKENIZER_FAMILIES
from plmtrain.settings.composing.folders import choices, section
from plmtrain.settings.data import DataSettings, TableSettings
from plmtrain.settings.lookup import objective_classes
from plmtrain.settings.models.base import ModelSettings
from plmtrain.settings.objectives.base import ObjectiveSettings
from plmtrain.settings.other_tools import elsewhere
from plmtrain.settings.task_rules import TASK_RULES
from plmtrain.settings.tasks.base import TaskSettings
from plmtrain.settings.tokenizer import TokenizerSettings
from plmtrain.settings.trainer import TrainerSettings
from plmtrain.settings.training_rules import TRAINING_RULES
from plmtrain.settings.wording import Broken, Rule, what_is_wrong


def _objective_fits_model(model: ModelSettings, objective: ObjectiveSettings) -> Iterator[Broken]:
    for place, part in objective.members().items():
        if model.kind not in part.backbones:
            kinds = " or ".join(sorted(part.backbones))
            yield (
                f"objective.{place}type",
                f"objective={part.name} needs a backbone of kind {kinds}; model={model.name} is of kind {model.kind}",
                f"{fitting(model)}; plmtrain list matrix shows which objective goes with which model",
            )


def _teacher_is_named(objective: ObjectiveSettings, teacher: str | None) -> Iterator[Broken]:
    taught = [part.name for part in objective.members().values() if part.needs_teacher]
    if taught and teacher is None:
        what = f"objective={taught[0]} learns from a teacher, and none is named"
        yield "teacher", what, "write teacher=RUN_OR_FOLDER: a run below runs/, or a Hugging Face folder"
    elif teacher is not None and not taught:
        what = f"objective={objective.name} has no loss that reads a teacher"
        yield "teacher", what, "omit teacher=, or write objective=distillation, for decoders objective=causal_distillation"


def _layers_come_from_one_place(objective: ObjectiveSettings, init: str | None) -> Iterator[Broken]:
    for place, part in objective.members().items():
        if init is not None and getattr(part, "initial_layers", "none") != "none":
            key = f"objective.{place}initial_layers"
            yield key, f"init={init} gives the student's weights, and {key} the teacher's", f"write {key}=none, or omit init="


def _mixture_owns_its_table(objective: ObjectiveSettings) -> Iterator[Broken]:
    for place, part in objective.members().items():
        if place and getattr(part, "share_embeddings", None) == "gradient_disentangled":
            key = f"objective.{place}share_embeddings"
            what = f"{key}: the table of the whole mixture would be that of one part's generator, and a table added to it"
            yield key, what, f"write {key}=full or none, or train objective={part.name} by itself"


def _window_fits_objective(model: ModelSettings, objective: ObjectiveSettings) -> Iterator[Broken]:
    for part in objective.members().values():
        if part.sees_ahead and getattr(model, "window", None) is not None:
            what = (
                f"objective={part.name} reads a prefix in both directions; a window of model={model.name} ends at each position"
            )
            yield "model.window", what, "write model.window=null, or use another decoder, such as model=gpt2"


def _encoder_sees_as_objective(model: ModelSettings, objective: ObjectiveSettings) -> Iterator[Broken]:
    if model.kind != "encoder":
        return
    causal = getattr(model, "causal", False)
    for part in objective.members().values():
        if part.sees_left != causal and model.kind in part.backbones:
            sees = "only what is to its left" if causal else "what is to its right"
            what = f"objective={part.name} does not go with model={model.name}, in which a position sees {sees}"
            other = "another model, such as xlm_clm" if part.sees_left else "another objective, such as encoder_clm"
            yield "model.causal", what, f"write model.causal={str(part.sees_left).lower()}, or choose {other}"


def fitting(model: ModelSettings) -> str:
    """Return a remedy that names the objectives that can train a model."""
    fitting_objectives = [
        choice
        for choice in choices("objective")
        if (kind := objective_classes().get(str(section("objective", choice).get("type")))) is not None
        and not kind.is_combined
        and model.kind in kind.backbones
    ]
    if not fitting_objectives:
        return f"no objective fits model={model.name}"
    return f"use objective={' or '.join(fitting_objectives)} with model={model.name}"


def missing_roles(model: ModelSettings, program: ObjectiveSettings | TaskSettings, roles: Collection[str]) -> list[str]:
    """Return the roles of the special tokens that a program needs and a tokenizer lacks, sorted.

    Args:
        model: the model; its family defines the tokens around texts.
        program: the objective or task, which may need other tokens, such as a mask.
        roles: the roles that the tokenizer has.
    """
    around = {piece for piece, _ in model.published.tokens.pieces(program.texts_in_row) if isinstance(piece, str)}
    return sorted((program.roles | around) - set(roles))


def families_for(model: ModelSettings, program: ObjectiveSettings | TaskSettings) -> str:
    """Return a list, in words, of the families whose tokenizers have all special tokens that a program needs."""
    rows = TOKENIZER_FAMILIES.items()
    return ", ".join(sorted(name for name, row in rows if not missing_roles(model, program, row.roles)))


def _objective_has_tokens(model: ModelSettings, objective: ObjectiveSettings, tokenizer: TokenizerSettings) -> Iterator[Broken]:
    for part in objective.members().values():
        if model.kind in part.backbones:  # no tokenizer would make another objective fit
            yield from _tokens_missing(f"objective={part.name}", model, part, tokenizer)


def _task_has_tokens(model: ModelSettings, task: TaskSettings, tokenizer: TokenizerSettings) -> Iterator[Broken]:
    if model.family in task.families:
        yield from _tokens_missing(f"task={task.name}", model, task, tokenizer)


def _tokens_missing(
    name: str, model: ModelSettings, program: ObjectiveSettings | TaskSettings, tokenizer: TokenizerSettings
) -> Iterator[Broken]:
    """Check a tokenizer that will be trained; the tokens of an existing one are only known when it is loaded."""
    missing = missing_roles(model, program, tokenizer.tokens.roles)
    if tokenizer.path is None and missing:
        yield (
            "tokenizer.family",
            f"{name} needs tokens that family {tokenizer.family} lacks: {', '.join(missing)}",
            f"tokenizer.family must be one of: {families_for(model, program)}",
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


def _phases_fit_objective(objective: ObjectiveSettings, trainer: TrainerSettings) -> Iterator[Broken]:
    """Check that phases change only what the objective does, not which parts are trained."""
    fixed = objective.fixed_keys()
    phases: list[ObjectiveSettings] = []
    for index, phase in enumerate(trainer.phases):
        place = f"trainer.phases.{index}.objective"
        given = dict(_flat(phase.objective))
        refused = [key for key in given if key in fixed]
        for key in refused:
            yield (
                f"{place}.{key}",
                f"a phase cannot change objective.{key}: the trained parts are the same in all steps of a run",
                f"set it for the whole run (objective.{key}=VALUE), or start another run from this one (init=RUN)",
            )
        changes = _without(phase.objective, refused)
        try:
            phases.append(objective.changed(changes))
        except ValidationError as error:
            known = [*type(objective).model_fields, *objective.keys_within(objective.model_dump())]
            valid = [f"{place}.{name}" for name in known if name not in fixed]
            for key, (what, remedy) in what_is_wrong(error, valid, f"{place}.").items():
                name = key.removeprefix(f"{place}.")
                if not (closest(name, known) or elsewhere(key)):  # the phases are those of a trainer that the user chose
                    remedy = f"objective={objective.name} has no such setting: choose another trainer=, or omit it"
                yield key, what, remedy
    trained = phases or [objective]
    if len(trained) >= len(trainer.phases):
        for key in sorted(set.intersection(*(each.idle_keys() for each in trained))):
            name = key.rpartition(".")[2]
            what = f"objective.{key} is 0 in every phase: no step would train {name}"
            yield f"objective.{key}", what, f"give it a share above 0, here or in a phase, or omit {name}"


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _without(values: Mapping[str, Any], keys: Sequence[str], prefix: str = "") -> dict[str, Any]:
    """Return nested values without some full keys."""
    return {
        name: _without(value, keys, f"{prefix}{name}.") if isinstance(value, Mapping) else value
        for name, value in values.items()
        if f"{prefix}{name}" not in keys
    }


def _pairs_are_not_isolated(objective: ObjectiveSettings, data: DataSettings) -> Iterator[Broken]:
    reasons = {
        "segment_pairs": "reads pairs of segments: each must see the other",
        "two_way_streams": "carries a state from word to word, whatever document they are of",
    }
    for part in objective.members().values():
        what = f"objective={part.name} {reasons.get(part.source)}"
        if part.source not in reasons and not part.isolates:
            what = f"objective={part.name} may hide a whole document of a row: its tokens must see the others"
        if data.isolate_documents and (part.source in reasons or not part.isolates):
            yield "data.isolate_documents", what, "omit data.isolate_documents"


def _data_has_translations(objective: ObjectiveSettings, data: DataSettings) -> Iterator[Broken]:
    for part in objective.members().values():
        if part.source != "translations":
            continue
        if data.type != "parallel":
            remedy = "write data=parallel data.files=[en-de.tsv] data.languages=[en,de]"
            yield "data.type", f"objective={part.name} reads parallel text, and data={data.name} has no translations", remedy
        elif data.isolate_documents:
            what = f"objective={part.name} reads a text and its translation: each must see the other"
            yield "data.isolate_documents", what, "omit data.isolate_documents"


def _sources_have_own_names(objective: ObjectiveSettings, data: DataSettings) -> Iterator[Broken]:
    """Check that the measures of a source of a mix cannot be taken for those of an objective."""
    parts = {place.removeprefix("parts.").removesuffix(".") for place in objective.members()}
    for name in sorted(data.sources.keys() & {*parts, "loss"}):
        what = f"data.sources.{name} has the name of a measure, and validation names its measures after the source"
        yield f"data.sources.{name}", what, "give the source another name"


def _stream_is_read_in_blocks(objective: ObjectiveSettings, data: DataSettings) -> Iterator[Broken]:
    """Check that the rows of a file are counted by its tokens, and that a step reads from one place of the files."""
    if data.type != "stream":
        return
    reasons = {
        "streams": "carries a memory along the whole text, which a stream cuts at the end of each file",
        "two_way_streams": "carries a state along the whole text, which a stream cuts at the end of each file",
        "segment_pairs": "reads pairs of segments, which are cut and counted when the whole text is prepared",
    }
    remedy = (
        "prepare the whole text (data=jsonl, text, csv or parquet), or choose an objective that reads blocks, such as mlm or clm"
    )
    if len(objective.members()) > 1:
        what = f"objective={objective.name} mixes objectives whose rows have different lengths: they would be at different files"
        yield "data.type", what, remedy
        return
    for part in objective.members().values():
        if part.source in reasons:
            yield "data.type", f"objective={part.name} {reasons[part.source]}", remedy


def _stream_has_no_epochs(data: DataSettings | TableSettings, trainer: TrainerSettings) -> Iterator[Broken]:
    if isinstance(data, DataSettings) and data.type == "stream" and trainer.epochs is not None:
        what = f"trainer.epochs={trainer.epochs:g} needs the number of all rows, which is unknown before data=stream is read"
        yield "trainer.epochs", what, "give the steps: trainer.steps=100000"


def _stream_by_the_clock_has_rows_of_one_shape(data: DataSettings | TableSettings, trainer: TrainerSettings) -> Iterator[Broken]:
    """Check that the file with which rows of another shape begin does not change with the clock."""
    if isinstance(data, DataSettings) and data.type == "stream" and trainer.hours is not None:
        lengths = dict.fromkeys(trainer.length_in(phase) for phase in trainer.phases)
        if len(lengths) > 1:
            what = f"rows of {' and '.join(map(str, lengths))} tokens in a stream begin at steps that trainer.hours would move"
            yield "trainer.phases", what, "give trainer.steps instead of trainer.hours, or all phases one sequence_length"
        for index, phase in enumerate(trainer.phases):
            if phase.objective:  # of span_corruption, for example, its settings decide how much text a row takes
                what = "a phase with another objective may have rows of another shape: trainer.hours would move where they begin"
                yield f"trainer.phases.{index}.objective", what, "give trainer.steps instead of trainer.hours, or omit it"


def _languages_are_used(model: ModelSettings, objective: ObjectiveSettings) -> Iterator[Broken]:
    if not getattr(model, "languages", ()):
        return
    for part in objective.members().values():
        if not part.tells_languages:
            yield (
                "model.languages",
                f"objective={part.name} does not say which language a token is of: nothing would train the languages' embeddings",
                "write model.languages=[] or another objective, such as objective=tlm",
            )


def _characters_are_of_words(model: ModelSettings, tokenizer: TokenizerSettings) -> Iterator[Broken]:
    if model.reads_characters and tokenizer.path is None and not tokenizer.has_whole_words:
        yield (
            "tokenizer.type",
            f"model={model.name} reads the characters of whole words, and {tokenizer.type} has parts of words",
            "write tokenizer=word, or tokenizer=spaced_word for text that is cut into words already",
        )


def _languages_are_numbered_alike(model: ModelSettings, data: DataSettings | TableSettings) -> Iterator[Broken]:
    known: tuple[str, ...] = getattr(model, "languages", ())
    if known and isinstance(data, DataSettings) and data.languages and known != data.languages:
        yield (
            "model.languages",
            f"the model's languages are {', '.join(known)}, those of the data {', '.join(data.languages)}",
            f"give both the same, in the same order: data.languages=[{','.join(known)}] (the text need not be in all of them)",
        )


def _pairs_fill_rows(objective: ObjectiveSettings, trainer: TrainerSettings) -> Iterator[Broken]:
    if all(part.source != "segment_pairs" for part in objective.members().values()):
        return
    shortest = 6  # two tokens of text and the special ones around them, of which RoBERTa has four
    named = [(f"trainer.phases.{index}.sequence_length", phase.sequence_length) for index, phase in enumerate(trainer.phases)]
    for key, length in [("trainer.sequence_length", trainer.sequence_length), *named]:
        if length is not None and length < shortest:
            yield key, f"{key} ({length}) has no room for two segments", f"write {key}={shortest} or more"


_RULES: tuple[Rule, ...] = (
    (("model", "objective"), _objective_fits_model),
    (("model", "objective"), _window_fits_objective),
    (("model", "objective"), _encoder_sees_as_objective),
    (("objective", "teacher"), _teacher_is_named),
    (("objective",), _mixture_owns_its_table),
    (("objective", "init"), _layers_come_from_one_place),
    (("model", "objective", "tokenizer"), _objective_has_tokens),
    (("model", "task", "tokenizer"), _task_has_tokens),
    (("model", "trainer"), _sequences_fit_model),
    (("objective", "trainer"), _phases_fit_objective),
    (("objective", "data"), _pairs_are_not_isolated),
    (("objective", "data"), _data_has_translations),
    (("objective", "data"), _sources_have_own_names),
    (("objective", "data"), _stream_is_read_in_blocks),
    (("data", "trainer"), _stream_has_no_epochs),
    (("data", "trainer"), _stream_by_the_clock_has_rows_of_one_shape),
    (("model", "objective"), _languages_are_used),
    (("model", "tokenizer"), _characters_are_of_words),
    (("model", "data"), _languages_are_numbered_alike),
    (("objective", "trainer"), _pairs_fill_rows),
    *TRAINING_RULES,
    *TASK_RULES,
)


def broken_rules(sections: Mapping[str, Any]) -> Iterator[Broken]:
    """Yield every broken rule, among those whose groups could be decoded."""
    for names, rule in _RULES:
        if all(name in sections for name in names):
            yield from rule(*(sections[name] for name in names))
