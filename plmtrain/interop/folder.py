"""Read the files of a Hugging Face folder, which may be a stranger's.

JSON and safetensors only. No name in a file leads out of the folder, no code in it is run, and sizes are checked before memory is
allocated.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from plmtrain.errors import CheckpointError, SettingsError
from plmtrain.files import open_regular
from plmtrain.json_files import DamagedJson, read_object

_JSON_LIMIT = 32 * 2**20
_HEADER_LIMIT = 32 * 2**20
WEIGHTS = "model.safetensors"
_INDEX = "model.safetensors.index.json"
_PICKLED = ("pytorch_model.bin", "pytorch_model.bin.index.json", "tf_model.h5", "flax_model.msgpack")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file that contains one object.

    Raises:
        SettingsError: if it does not, or is far larger than any such file.
    """
    try:
        return read_object(path, _JSON_LIMIT)
    except FileNotFoundError:
        raise SettingsError(f"{path.name} cannot be read: No such file or directory", str(path), "check the path") from None
    except DamagedJson as error:
        raise SettingsError(f"{path.name} cannot be read: {error}", str(path), "this folder cannot be used") from None


def refuse_code(values: Mapping[str, Any], path: Path) -> None:
    """Refuse a folder that needs its own code.

    Args:
        values: the contents of its config.json or tokenizer_config.json.
        path: that file.

    Raises:
        SettingsError: if it names any code.
    """
    if "auto_map" in values:
        raise SettingsError("the folder contains its own code (auto_map)", str(path), "plmtrain never runs a folder's code")


class TensorSource(Protocol):
    """Tensors of files by their names: the shapes are known before any is read."""

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """The shape of each tensor."""
        ...

    def read(self, name: str) -> Tensor:
        """Read one tensor in fp32."""
        ...


class Tensors:
    """The tensors of a folder: names and shapes at once, each tensor's values on request.

    Args:
        folder: contains model.safetensors, or an index and the files that it names.

    Raises:
        SettingsError: if the folder has no safetensors, or names files outside itself.
        CheckpointError: if a file is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self._files: dict[str, Path] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        for path in _weight_files(folder):
            for name, shape in _shapes(path).items():
                if name in self._files:
                    raise CheckpointError(f"{name} is in two files", str(path), "this folder cannot be read")
                self._files[name] = path
                # Checkpoints that were converted from TensorFlow name the weights of layer norms differently.
                self.shapes[name] = shape
        self._modern = {_modern_name(name): name for name in self._files}
        self.shapes = {modern: self.shapes[name] for modern, name in self._modern.items()}

    def read(self, name: str) -> Tensor:
        """Read one tensor in fp32.

        Raises:
            CheckpointError: if it contains anything but finite real numbers.
        """
        original = self._modern[name]
        path = self._files[original]
        with safe_open(path, framework="pt") as file:
            tensor: Tensor = file.get_tensor(original)
        if not tensor.is_floating_point():
            raise CheckpointError(
                f"{original} contains {str(tensor.dtype).removeprefix('torch.')}", str(path), "expected real numbers"
            )
        tensor = tensor.float()
        if not bool(torch.isfinite(tensor).all()):
            raise CheckpointError(f"{original} contains numbers that are not finite", str(path), "this model is broken")
        return tensor


def _modern_name(name: str) -> str:
    for old, new in ((".gamma", ".weight"), (".beta", ".bias")):
        if name.endswith(old):
            return name.removesuffix(old) + new
    return name


def _weight_files(folder: Path) -> list[Path]:
    if (folder / WEIGHTS).exists():
        return [_inside(folder, WEIGHTS)]
    if (folder / _INDEX).exists():
        names = read_json(folder / _INDEX).get("weight_map")
        if not isinstance(names, Mapping) or not all(isinstance(name, str) for name in names.values()):
            raise SettingsError("weight_map is not a table of file names", str(folder / _INDEX), "this folder cannot be read")
        return [_inside(folder, name) for name in sorted(set(names.values()))]
    if pickled := [name for name in _PICKLED if (folder / name).exists()]:
        raise SettingsError(
            f"the weights are in {pickled[0]}, which can run code when it is read",
            str(folder),
            f"convert it to {WEIGHTS} where you trust it (save_pretrained of transformers does)",
        )
    raise SettingsError(f"there is no {WEIGHTS} here", str(folder), "name a folder with a model in it")


def _inside(folder: Path, name: str) -> Path:
    """Return the file that a folder's index names."""
    if name != Path(name).name or not name.endswith(".safetensors"):
        raise SettingsError(
            f"{name!r:.80} is not the plain name of a safetensors file", str(folder), "this folder cannot be read"
        )
    path = own_file(folder, name)
    if not path.is_file():
        raise CheckpointError(f"{name} is missing", str(folder), "the index names it; fetch the whole model")
    return path


def own_file(folder: Path, name: str) -> Path:
    """Return a folder's own file, whether it exists or not.

    Args:
        folder: possibly a stranger's.
        name: a plain name.

    Raises:
        SettingsError: if it is a link that leads out of the folder.
    """
    path = folder / name
    real = path.resolve()
    # In one layout links lead out of the folder: the hub's cache has snapshots/REVISION/FILE -> ../../blobs/HASH.
    homes = {folder.resolve(), folder.resolve().parent.parent / "blobs"} if folder.resolve().parent.name == "snapshots" else set()
    if real.parent not in homes | {folder.resolve()}:
        raise SettingsError(f"{name} is a link that leads out of the folder", str(folder), "copy the file itself here")
    return path


def _shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Return the shape of each tensor of a file, from its header alone."""
    with open_regular(path) as file:
        header = int.from_bytes(file.read(8), "little")
    if header > min(_HEADER_LIMIT, path.stat().st_size):
        raise CheckpointError(f"{path.name} has a header of {header:,} bytes", str(path), "the file is damaged")
    try:
        # The library refuses overlapping, missing and wrongly sized ranges when it opens the file.
        with safe_open(path, framework="pt") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118  # no mapping
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path.name} is damaged: {error}", str(path), "fetch the file again") from None
