"""Reading GPT-1's original files, as its authors published them (Radford et al. 2018).

All parameters are one flat array, in shards ``params_0.npy``, ``params_1.npy`` and so on; ``params_shapes.json`` has the shape
of each tensor, in the order in which the authors' code makes them: the table of positions, the table of tokens, and twelve of
each block. ``encoder_bpe.json`` and ``vocab.bpe`` are the vocabulary and the merges.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import Tensor

from plmtrain.backbones import build
from plmtrain.errors import CheckpointError, SettingsError
from plmtrain.files import read_bytes, require_regular, sha256
from plmtrain.interop.families.gpt1 import FAMILY
from plmtrain.interop.folder import own_file
from plmtrain.interop.model import Model
from plmtrain.interop.placing import fill
from plmtrain.json_files import DamagedJson, parse
from plmtrain.nn.initialisation import without_weights
from plmtrain.settings.models.decoder import DecoderSettings
from plmtrain.text.tokenizer import Tokenizer
from plmtrain.text.tokenizer_files import from_merges

SHAPES = "params_shapes.json"
_VOCABULARY, _MERGES = "encoder_bpe.json", "vocab.bpe"
_TABLES = ("positions_embed.weight", "tokens_embed.weight")
_BLOCK = tuple(
    f"{name}.{kind}"
    for name in ("attn.c_attn", "attn.c_proj", "ln_1", "mlp.c_fc", "mlp.c_proj", "ln_2")
    for kind in ("weight", "bias")
)
"""The tensors of a block in the authors' order, by transformers' names. Their layers are [in, out] in both."""
_HEAD = 64
"""The published model's width of an attention head; no file says it."""
_LARGEST = 2**28
"""More than any dimension is; the product of two cannot overflow."""
_MOST_TENSORS = 12_000
_LONGEST = 2**20  # bytes of all shapes


def is_original(folder: Path) -> bool:
    """Return whether a folder has GPT-1's original files."""
    return (folder / SHAPES).is_file()


def digest(folder: Path) -> str:
    """Return the digest of the weights."""
    return hashlib.sha256("".join(sha256(path) for path in _shard_files(folder)).encode()).hexdigest()


def read(folder: Path, heads: int | None) -> Model:
    """Read the model. Every shape is compared with the others, and the shards with all of them, before memory is allocated.

    Args:
        folder: the folder with the files.
        heads: the number of attention heads; None for heads of the published model's width.

    Raises:
        SettingsError: if the number of heads is unknown or impossible, or a file is a link that leads out of the folder.
        CheckpointError: if the files are damaged, do not fit each other, or have numbers that are not finite.
    """
    tensors = _Tensors(folder)
    settings = _settings(tensors, heads, folder)
    with without_weights():
        backbone = build(settings, tensors.shapes["tokens_embed.weight"][0])
    fill(backbone, FAMILY.backbone(settings), tensors, folder)
    return Model(backbone=backbone.eval(), heads={})


def tokenizer_of(folder: Path) -> Tokenizer | None:
    """Return the tokenizer of the two text files; None if they are not there.

    Raises:
        SettingsError: if one of them is a link that leads out of the folder.
        DataError: if they cannot be read.
    """
    vocabulary, merges = own_file(folder, _VOCABULARY), own_file(folder, _MERGES)
    if not (vocabulary.is_file() and merges.is_file()):
        return None
    return Tokenizer(from_merges(vocabulary, merges, {}), {})


class _Tensors:
    """The tensors of the flat array, by transformers' names."""

    def __init__(self, folder: Path) -> None:
        shapes = _shapes(folder)
        names = [*_TABLES, *(f"h.{layer}.{name}" for layer in range((len(shapes) - 2) // len(_BLOCK)) for name in _BLOCK)]
        # The authors' layers are convolutions of width 1, whose weights have one more dimension.
        self.shapes = {
            name: shape[1:] if len(shape) == 3 and shape[0] == 1 else shape for name, shape in zip(names, shapes, strict=True)
        }
        sizes = [prod(shape) for shape in shapes]
        self._starts = dict(zip(names, np.cumsum([0, *sizes])[:-1].tolist(), strict=True))
        self._shards = _shards(folder)
        self._folder = folder
        present, wanted = sum(map(len, self._shards)), sum(sizes)
        if present != wanted:
            raise CheckpointError(
                f"the shards have {present:,} numbers, {SHAPES} wants {wanted:,}", str(folder), "copy all params_*.npy again"
            )

    def read(self, name: str) -> Tensor:
        """Read one tensor in fp32.

        Raises:
            CheckpointError: if it has numbers that are not finite.
        """
        first, shape = self._starts[name], self.shapes[name]
        last, parts, begin = first + prod(shape), [], 0
        for shard in self._shards:
            parts.append(shard[max(first - begin, 0) : max(last - begin, 0)])
            begin += len(shard)
        values = np.concatenate(parts, dtype=np.float32, casting="same_kind").reshape(shape)
        if not np.isfinite(values).all():
            raise CheckpointError(f"{name} contains numbers that are not finite", str(self._folder), "this model is broken")
        return torch.from_numpy(values)


def _shapes(folder: Path) -> list[tuple[int, ...]]:
    path = own_file(folder, SHAPES)
    try:
        if path.stat().st_size > _LONGEST:
            raise CheckpointError(f"{SHAPES} is larger than any such file", str(path), "these are not GPT-1's files")
        values = parse(read_bytes(path))
    except (DamagedJson, OSError) as error:
        raise CheckpointError(f"{SHAPES} cannot be read: {error}", str(path), "copy it again") from None
    if not isinstance(values, list) or not all(_is_shape(value) for value in values):
        raise CheckpointError(f"{SHAPES} is not a list of shapes", str(path), "copy it again")
    if (len(values) - len(_TABLES)) % len(_BLOCK) or not len(_TABLES) < len(values) < _MOST_TENSORS:
        what = f"{SHAPES} has {len(values)} tensors, expected {len(_TABLES)} and {len(_BLOCK)} for each block"
        raise CheckpointError(what, str(path), "these are not GPT-1's files")
    return [tuple(value) for value in values]


def _is_shape(value: Any) -> bool:
    whole = isinstance(value, list) and all(isinstance(size, int) and not isinstance(size, bool) for size in value)
    return whole and 1 <= len(value) <= 3 and all(0 < size < _LARGEST for size in value)


def _settings(tensors: _Tensors, heads: int | None, folder: Path) -> DecoderSettings:
    positions, tokens = (tensors.shapes[name] for name in _TABLES)
    if len(positions) != 2 or len(tokens) != 2 or positions[1] != tokens[1]:
        what = f"the tables of positions and tokens are {list(positions)} and {list(tokens)}, expected two of equal width"
        raise CheckpointError(what, str(folder / SHAPES), "these are not GPT-1's files")
    width = tokens[1]
    if heads is None and width % _HEAD:
        what = f"the number of attention heads is not in the files, and the width {width} is no multiple of {_HEAD}"
        raise SettingsError(what, f"{folder}: the published heads are {_HEAD} wide", "write heads=NUMBER behind the folders")
    shape = {
        "layers": (len(tensors.shapes) - len(_TABLES)) // len(_BLOCK),
        "width": width,
        "heads": heads if heads is not None else width // _HEAD,
        "feed_forward": 4 * width,
        "positions": positions[0],
        "norm": "post",
        "scaled_residuals": False,
    }
    try:
        return DecoderSettings(name="gpt1", family="gpt1", **shape)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"])) or "the shape"
        raise SettingsError(f"{key}: {first['msg']}", str(folder), "this model cannot be read") from None


def _shard_files(folder: Path) -> list[Path]:
    count = sum(1 for _ in folder.glob("params_*.npy"))
    files = [own_file(folder, f"params_{number}.npy") for number in range(count)]
    if missing := [path.name for path in files if not path.is_file()]:
        raise CheckpointError(f"{missing[0]} is missing", str(folder), "the shards are numbered from 0; copy all of them")
    return files


def _shards(folder: Path) -> Sequence[NDArray[np.floating[Any]]]:
    """Open the shards: the library compares the length in each header with the size of the file."""
    shards = []
    for path in _shard_files(folder):
        try:
            require_regular(path)
            shard = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError, SyntaxError) as error:
            raise CheckpointError(f"{path.name} is no array of numbers: {error}", str(path), "copy it again") from None
        if not isinstance(shard, np.ndarray) or shard.ndim != 1 or shard.dtype.kind != "f":
            raise CheckpointError(f"{path.name} is not a flat array of real numbers", str(path), "copy it again")
        shards.append(shard)
    return shards
