"""Models in the folders of other programs, by whichever files they have: Hugging Face's, or the original ones of ELMo."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from plmtrain.errors import SettingsError
from plmtrain.files import sha256
from plmtrain.interop import elmo_original, hugging_face
from plmtrain.interop.folder import read_json
from plmtrain.interop.hugging_face import Saved
from plmtrain.interop.model import Model
from plmtrain.settings.models.base import ModelSettings


def is_model(folder: Path) -> bool:
    """Return whether a folder has the files of a model."""
    return (folder / hugging_face.CONFIG).is_file() or elmo_original.is_original(folder)


def settings_of(folder: Path) -> ModelSettings:
    """Return the settings of a folder's model, without reading its weights.

    Raises:
        SettingsError: if its model is not supported.
    """
    return elmo_original.settings_of(folder) if elmo_original.is_original(folder) else hugging_face.settings_of(folder)


def read(folder: Path) -> Model:
    """Read the model of a folder.

    Raises:
        SettingsError: if its model is not supported, or needs custom code.
        CheckpointError: if its weights are damaged or do not fit.
    """
    return elmo_original.read(folder) if elmo_original.is_original(folder) else hugging_face.read(folder)


def save(folder: Path, model: Model, roles: Mapping[str, int]) -> Saved:
    """Write the files of a model in the format of its family.

    Args:
        folder: it must not contain them yet.
        model: heads that the format has no place for are omitted.
        roles: the id of each special token by its role.

    Raises:
        SettingsError: if the format cannot hold this model.
        DiskError: if the files cannot be written.
    """
    if not model.settings.reads_characters:
        return hugging_face.save(folder, model, roles)
    elmo_original.save(folder, model)
    return Saved("biLM in ELMo's original format", frozenset(), tuple(model.heads), of_transformers=False)


def tolerance(model: Model) -> float:
    """Return the largest difference of a score that is allowed after a model was written and read back."""
    if model.settings.reads_characters:
        return elmo_original.TOLERANCE
    return hugging_face.family_of(model.settings.family, model.settings.name).tolerance


def weights_digest(folder: Path, key: str = "init") -> str:
    """Return the digest of a folder's weights.

    Args:
        folder: the folder.
        key: the setting that names it, for messages.

    Raises:
        SettingsError: if there are none.
    """
    if elmo_original.is_original(folder):
        return elmo_original.digest(folder)
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise SettingsError("there are no weights in this folder", f"{key}={folder}", "name a run or a Hugging Face folder")
    return hashlib.sha256("".join(sha256(file) for file in files).encode()).hexdigest()


def token_rows(folder: Path) -> int | None:
    """Return the rows of the token embedding of a folder's model; None where it has none."""
    if elmo_original.is_original(folder):
        return None
    rows = read_json(folder / hugging_face.CONFIG).get("vocab_size")
    return rows if isinstance(rows, int) else None
