"""Composing the settings of a run from a verb and its overrides, for any kind of run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from plmtrain.errors import PlmtrainError, SettingsError
from plmtrain.settings.composing.compose import Composed, compose
from plmtrain.settings.composing.folders import primary_of
from plmtrain.settings.composing.settings_file import separated, top_keys
from plmtrain.settings.decode import run_settings, settings_from_run
from plmtrain.settings.identity import kind_of
from plmtrain.settings.kinds import KINDS, PRETRAIN, RunKind
from plmtrain.settings.run import RunSettings
from plmtrain.settings.taught_task import TEACHER_SHARE
from plmtrain.settings.tokenizer import TokenizerSettings
from plmtrain.training.run_folder import RunFolder, run_and_step


def kind_for(verb: str, arguments: Sequence[str] = ()) -> RunKind[Any]:
    """Return the kind of run that a command composes.

    Args:
        verb: the word after ``plmtrain``.
        arguments: Hydra overrides and perhaps a file of settings, which decide the kind of run of a verb for any kind.
    """
    path, overrides = separated(arguments)
    primary = primary_of(verb, [*overrides, *(f"{key}=" for key in (top_keys(path) if path is not None else ()))])
    return next((kind for kind in KINDS if kind.primary == primary), PRETRAIN)


def composed_for(verb: str, arguments: Sequence[str], config_dir: str | None = None) -> Composed:
    """Compose the settings of a run; with ``init``, the model and the tokenizer come from its folder, with ``teacher`` the
    tokenizer.

    Args:
        verb: the word after ``plmtrain``.
        arguments: Hydra overrides.
        config_dir: the folder of ``--config-dir``.

    Raises:
        SettingsErrors: for unknown options among the arguments.
    """
    composed = compose(arguments, config_dir, kind_for(verb, arguments).primary)
    init, teacher = (composed.values.get(key) if key not in composed.broken else None for key in ("init", "teacher"))
    if isinstance(init, str):
        composed = _started_from(Path(init), composed)
    if isinstance(teacher, str):
        composed = _taught_by(Path(teacher), composed, starts=isinstance(init, str))
    return composed


def settings_for(verb: str, arguments: Sequence[str], config_dir: str | None = None) -> RunSettings:
    """Return the settings of a verb's run; arguments as in ``composed_for``.

    Raises:
        SettingsErrors: if the settings are invalid, with all errors.
    """
    settings: RunSettings = run_settings(composed_for(verb, arguments, config_dir), kind_for(verb, arguments))
    return settings


def _started_from(folder: Path, composed: Composed) -> Composed:
    """Return the settings with the model and the tokenizer of the run or Hugging Face folder to start from."""
    errors = list(composed.errors)
    place = f"init={folder}"
    for text in composed.groups:
        group = text.partition("=")[0]
        if group in ("model", "size", "tokenizer"):
            errors.append(SettingsError(f"{place} has its own {group}", composed.origin(group), f"omit {group}="))
    path = (composed.values.get("tokenizer") or {}).get("path")
    try:
        model, tokenizer = _parts_of(folder, Path(path) if isinstance(path, str) else None, place, "to start from")
    except PlmtrainError as error:
        problem = SettingsError(error.what, error.where or place, error.remedy)
        return replace(composed, errors=(*errors, problem), broken=composed.broken | {"model", "tokenizer"})
    given = [key for key in composed.given if key.startswith(("model.", "tokenizer.")) and key != "tokenizer.path"]
    for key in given:
        group, _, name = key.partition(".")
        inherited = {"model": model, "tokenizer": tokenizer}[group]
        # A run's own config.yaml repeats what init= gives.
        if kind_of(key) == "structural" and (composed.values.get(group) or {}).get(name) != inherited.get(name):
            errors.append(SettingsError(f"{key} is given by {place}", composed.origin(key), "omit it"))
    changed = {key.partition(".")[2] for key in given if key.startswith("model.") and kind_of(key) != "structural"}
    ours: dict[str, Any] = composed.values.get("model") or {}
    values = {
        **composed.values,
        "model": {**model, **{name: ours[name] for name in changed if name in ours}},
        "tokenizer": {**tokenizer, "path": path},
    }
    return replace(composed, values=values, errors=tuple(errors))


def _taught_by(folder: Path, composed: Composed, *, starts: bool) -> Composed:
    """Return the settings with what a teacher gives: its tokenizer, the size of its states where that is another, and the weights
    of its answers to a task.

    Args:
        folder: the run or Hugging Face folder of the teacher.
        composed: the settings so far.
        starts: whether the run starts from another folder, which has a tokenizer.
    """
    errors = list(composed.errors)
    place = f"teacher={folder}"
    values = dict(composed.values)
    try:
        model, tokenizer = _parts_of(folder, None, place, "to learn from")
    except PlmtrainError as error:
        problem = SettingsError(error.what, error.where or place, error.remedy)
        return replace(composed, errors=(*errors, problem), broken=composed.broken | {"teacher", "tokenizer"})
    if not starts:
        chosen = [text.partition("=")[0] for text in composed.groups]
        for key in [*chosen, *composed.given]:
            group, _, name = key.partition(".")
            given = (composed.values.get(group) or {}).get(name) if name else None
            if group == "tokenizer" and name != "path" and (not name or given != tokenizer.get(name)):
                errors.append(SettingsError(f"{key} is given by {place}", composed.origin(key), "omit it"))
        values["tokenizer"] = {**tokenizer, "path": (composed.values.get("tokenizer") or {}).get("path")}
    width, own = model.get("width"), (values.get("model") or {}).get("width")
    if "objective" in values:
        values["objective"] = _with_teacher_width(values["objective"], None if width == own else width)
    if isinstance(task := values.get("task"), Mapping):
        shares = {key: TEACHER_SHARE for key in ("soft_weight", "hard_weight") if task.get(key, TEACHER_SHARE) is None}
        values["task"] = {**task, **shares}
    return replace(composed, values=values, errors=tuple(errors))


def _with_teacher_width(objective: Any, width: int | None) -> Any:
    """Return the plain settings of an objective with the size of a teacher's states, in it or in the parts of a mixture."""
    if not isinstance(objective, Mapping):
        return objective
    changed = dict(objective)
    if "teacher_width" in changed:
        changed["teacher_width"] = width
    if isinstance(parts := changed.get("parts"), Mapping):
        changed["parts"] = {name: _with_teacher_width(part, width) for name, part in parts.items()}
    return changed


def _parts_of(folder: Path, tokenizer: Path | None, place: str, use: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the settings of the model and the tokenizer in a run or a Hugging Face folder, as plain values.

    Args:
        folder: the folder of either.
        tokenizer: the folder of the tokenizer that is used instead of the folder's own, such as an extended one.
        place: the setting that names the folder, for messages.
        use: what the folder is for, for messages.

    Raises:
        PlmtrainError: if a folder has none that can be read.
    """
    if (of_run := run_and_step(folder)) is not None:
        settings = settings_from_run(RunFolder(of_run[0]).config())
        own = settings.tokenizer.model_dump(mode="json")
        return settings.model.model_dump(mode="json"), own if tokenizer is None else _tokenizer_in(tokenizer)
    from plmtrain.interop import foreign

    if not foreign.is_model(folder):
        remedy = "name a run below runs/, or a folder with config.json and model.safetensors in it"
        raise SettingsError(f"there is neither a run nor a Hugging Face folder {use}", place, remedy)
    return foreign.settings_of(folder).model_dump(mode="json"), _tokenizer_in(tokenizer or folder)


def _tokenizer_in(folder: Path) -> dict[str, Any]:
    """Describe a Hugging Face folder's tokenizer with plmtrain's settings, which are not used to train one."""
    from plmtrain.text.tokenizer import Tokenizer

    tokenizer = Tokenizer.load(folder)
    (upper, _), (lower, _) = tokenizer.encode(["A", "a"])
    kinds = TokenizerSettings.model_fields["type"].annotation
    known = getattr(kinds, "__args__", ())
    kind = {"wordlevel": "word"}.get(tokenizer.type, tokenizer.type)
    return {
        "type": kind if kind in known else "wordpiece",
        "family": tokenizer.family,
        "vocab_size": tokenizer.vocabulary.size,
        "lowercase": upper.tolist() == lower.tolist(),
    }
