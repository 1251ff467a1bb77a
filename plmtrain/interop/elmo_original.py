"""ELMo's original files, as its authors published them (Peters et al. 2018): ``options.json`` and ``lm_weights.hdf5``.

The file of weights has the backbone alone. Its names and layouts are those of TensorFlow: the layers are [in, out], a convolution
is [1, width, in, out], and the gates of an LSTM are i, j, f, o.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError
from torch import Tensor

from plmtrain.backbones import build
from plmtrain.errors import CheckpointError, SettingsError
from plmtrain.files import disk_errors, require_regular, sha256, write_json_atomically
from plmtrain.interop.family import Names, Source, Transposed, one
from plmtrain.interop.folder import own_file, read_json
from plmtrain.interop.model import Model
from plmtrain.interop.placing import fill, flat, listed, named_tensors
from plmtrain.settings.models.bilstm import BiLSTMSettings
from plmtrain.text.spelling import CHARACTERS
from plmtrain.training.tensor_file import byte_size

OPTIONS, WEIGHTS = "options.json", "lm_weights.hdf5"
TOLERANCE = 1e-5
"""The largest difference of states after writing and reading the files."""
_MOST_TENSORS = 10_000


class _Convolution(Source):
    """The weight of TensorFlow's ``conv2d`` over one row, which is [1, width, in, out]."""

    def split(self, tensor: Tensor) -> Sequence[Tensor]:
        return [tensor.permute(2, 1, 0)[None].contiguous()]

    def join(self, tensors: Sequence[Tensor]) -> Tensor:
        (tensor,) = tensors
        return tensor[0].permute(2, 1, 0).contiguous()


def is_original(folder: Path) -> bool:
    """Return whether a folder has ELMo's original files."""
    return (folder / OPTIONS).exists() and (folder / WEIGHTS).exists()


def digest(folder: Path) -> str:
    """Return the digest of the weights."""
    return hashlib.sha256(sha256(own_file(folder, WEIGHTS)).encode()).hexdigest()


def settings_of(folder: Path) -> BiLSTMSettings:
    """Return the settings of a folder's model, without reading its weights.

    Raises:
        SettingsError: if the options are not those of a model with characters that reads in both directions.
    """
    path = own_file(folder, OPTIONS)
    options = read_json(path)
    try:
        lstm, words = options["lstm"], options["char_cnn"]
        if not options.get("bidirectional", True):
            raise SettingsError("bidirectional is false", str(path), "plmtrain reads models of both directions")
        if (count := words["n_characters"]) not in (CHARACTERS, CHARACTERS + 1):
            raise SettingsError(f"n_characters is {count!r:.40}, expected {CHARACTERS}", str(path), "this model cannot be read")
        shape = {
            "layers": lstm["n_layers"],
            "cells": lstm["dim"],
            "projection": lstm["projection_dim"],
            "characters": words["max_characters_per_token"],
            "character_width": words["embedding"]["dim"],
            "filters": words["filters"],
            "highways": words.get("n_highway", 0),
            "activation": words["activation"],
            "residual": lstm["use_skip_connections"],
            "cell_clip": lstm["cell_clip"] or None,
            "projection_clip": lstm["proj_clip"] or None,
            **({"dropout": options["dropout"]} if "dropout" in options else {}),
        }
    except (KeyError, TypeError, AttributeError) as error:
        what = f"the options lack {error}" if isinstance(error, KeyError) else "the options have another form"
        raise SettingsError(what, str(path), "these are not ELMo's options") from None
    try:
        return BiLSTMSettings(name="elmo", **shape)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"])) or "the shape"
        raise SettingsError(f"{key}: {first['msg']}", str(path), "this model cannot be read") from None


def read(folder: Path) -> Model:
    """Read the model.

    Raises:
        SettingsError: if the options cannot be read, or a file is a link that leads out of the folder.
        CheckpointError: if the weights are damaged or do not fit the options.
    """
    settings = settings_of(folder)
    with _opened(folder) as tensors:
        names = _names(settings)
        if unknown := sorted(tensors.shapes.keys() - flat([names])):
            raise CheckpointError(f"tensors that ELMo does not have: {listed(unknown)}", str(folder), "see options.json")
        with torch.device("meta"):
            backbone = build(settings, 1)
        fill(backbone, names, tensors, folder)
    return Model(backbone=backbone.eval(), heads={})


def save(folder: Path, model: Model) -> None:
    """Write the two files.

    Args:
        folder: it must not contain the files yet.
        model: its heads are omitted.

    Raises:
        DiskError: if the files cannot be written.
    """
    import h5py

    settings = model.settings
    assert isinstance(settings, BiLSTMSettings)
    tensors = named_tensors(model.backbone, _names(settings))
    with disk_errors(folder / WEIGHTS, byte_size(tensors)), h5py.File(folder / WEIGHTS, "x") as file:
        for name, tensor in tensors.items():
            file.create_dataset(name, data=tensor.numpy())
    write_json_atomically(folder / OPTIONS, _options(settings))


def _options(settings: BiLSTMSettings) -> dict[str, Any]:
    return {
        "bidirectional": True,
        "dropout": settings.dropout,
        "lstm": {
            "cell_clip": settings.cell_clip,
            "dim": settings.cells,
            "n_layers": settings.layers,
            "proj_clip": settings.projection_clip,
            "projection_dim": settings.projection,
            "use_skip_connections": settings.residual,
        },
        "char_cnn": {
            "activation": settings.activation,
            "embedding": {"dim": settings.character_width},
            "filters": [list(each) for each in settings.filters],
            "max_characters_per_token": settings.characters,
            # The authors' code for using a model counts one more, which stands for a row's padding.
            "n_characters": CHARACTERS + 1,
            "n_highway": settings.highways,
        },
    }


def _names(settings: BiLSTMSettings) -> Names:
    def layer(ours: str, theirs: str, weight: str, bias: str) -> Names:
        return {f"{ours}.weight": Transposed((f"{theirs}/{weight}",)), **one(f"{ours}.bias", f"{theirs}/{bias}")}

    names = one("words.embedding.weight", "char_embed") | layer("words.projection", "CNN_proj", "W_proj", "b_proj")
    for number in range(len(settings.filters)):
        ours = f"words.convolutions.{number}"
        names[f"{ours}.weight"] = _Convolution((f"CNN/W_cnn_{number}",))
        names |= one(f"{ours}.bias", f"CNN/b_cnn_{number}")
    for number in range(settings.highways):
        ours, theirs = f"words.highways.{number}", f"CNN_high_{number}"
        names |= layer(f"{ours}.gate", theirs, "W_carry", "b_carry")
        names |= layer(f"{ours}.transform", theirs, "W_transform", "b_transform")
    for number in range(settings.layers):
        for place, direction in enumerate(("forwards", "backwards")):
            ours, theirs = f"layers.{number}.{direction}", f"RNN_{place}/RNN/MultiRNNCell/Cell{number}/LSTMCell"
            names |= layer(ours, theirs, "W_0", "B")
            names[f"{ours}.projection_weight"] = Transposed((f"{theirs}/W_P_0",))
    return names


class _Tensors:
    """The tensors of an open HDF5 file; none of them leads to another file.

    Args:
        file: the open file.
        path: of the file.
    """

    def __init__(self, file: Any, path: Path) -> None:
        self._path = path
        self._sets = dict(_datasets(file, "", path))
        self.shapes: Mapping[str, tuple[int, ...]] = {name: tuple(each.shape) for name, each in self._sets.items()}

    def read(self, name: str) -> Tensor:
        """Read one tensor in fp32.

        Raises:
            CheckpointError: if it has anything but finite real numbers.
        """
        values = np.asarray(self._sets[name][...], np.float32)
        if not np.isfinite(values).all():
            raise CheckpointError(f"{name} contains numbers that are not finite", str(self._path), "this model is broken")
        return torch.from_numpy(values)


def _datasets(group: Any, prefix: str, path: Path) -> Iterator[tuple[str, Any]]:
    """Yield the arrays of real numbers in a group and the groups within it, by their names.

    Raises:
        CheckpointError: for anything else, and for links: they may lead to other files, or in circles.
    """
    import h5py

    for count, key in enumerate(group):
        name = f"{prefix}{key}"
        if count > _MOST_TENSORS or prefix.count("/") > 8 or not isinstance(group.get(key, getlink=True), h5py.HardLink):
            raise CheckpointError(f"{name:.80} is no plain part of the file", str(path), "this file cannot be read")
        item = group[key]
        if isinstance(item, h5py.Group):
            yield from _datasets(item, f"{name}/", path)
        elif item.is_virtual or item.external or item.dtype.kind != "f":
            raise CheckpointError(f"{name:.80} is no array of real numbers", str(path), "this file cannot be read")
        else:
            yield name, item


@contextmanager
def _opened(folder: Path) -> Iterator[_Tensors]:
    """Open the file of weights.

    Raises:
        CheckpointError: if it is damaged.
    """
    import h5py

    path = own_file(folder, WEIGHTS)
    try:
        require_regular(path)
        with h5py.File(path, "r") as file:
            yield _Tensors(file, path)
    except (OSError, RuntimeError, ValueError) as error:
        raise CheckpointError(f"{WEIGHTS} is damaged: {error}", str(path), "copy the file again") from None
