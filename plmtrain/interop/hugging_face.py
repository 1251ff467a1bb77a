"""A model from a Hugging Face folder, and one to such a folder (config.json and model.safetensors)."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from plmtrain.backbones import Backbone, build
from plmtrain.errors import CheckpointError, SettingsError, nearest
from plmtrain.files import make_folder, write_bytes_atomically, write_json_atomically
from plmtrain.interop.family import Config, Family, Names
from plmtrain.interop.folder import Tensors, read_json
from plmtrain.nn.heads import MaskedLMHead, Pooler
from plmtrain.settings.models.encoder import EncoderSettings

FAMILIES: tuple[str, ...] = get_args(EncoderSettings.model_fields["family"].annotation)
"""What ``model_type`` in a config.json may be."""

_NAMED = 8
"""How many tensors an error names at most."""


@dataclass(frozen=True, kw_only=True)
class HuggingFaceModel:
    """What a folder holds, in our parts.

    Args:
        settings: the shape of the model.
        backbone: always there.
        head: the masked-LM head, where the folder has one.
        pooler: the pooler, where the folder has one.
        config: the folder's config.json.
        others: names of tensors that belong to none of the above, such as a classifier's.
    """

    settings: EncoderSettings
    backbone: Backbone
    head: MaskedLMHead | None
    pooler: Pooler | None
    config: Mapping[str, Any]
    others: tuple[str, ...]


def family_of(name: str, source: str) -> Family:
    """The family of a ``model_type``.

    Raises:
        SettingsError: if we have no such model.
    """
    if name not in FAMILIES:
        raise SettingsError(f"model_type is {name!r:.80}, which plmtrain does not know", source, nearest(str(name), FAMILIES))
    family: Family = importlib.import_module(f"plmtrain.interop.{name}").FAMILY
    return family


def read(folder: str | Path) -> HuggingFaceModel:
    """Read a folder that transformers' ``save_pretrained`` or ``save`` below wrote.

    Raises:
        SettingsError: if it holds no model that we have, or code of its own.
        CheckpointError: if tensors are missing, unknown, of the wrong shape, damaged or not finite.
    """
    folder = Path(folder)
    source = folder / "config.json"
    values = read_json(source)
    if "auto_map" in values:
        raise SettingsError("the model brings code of its own (auto_map)", str(source), "plmtrain never runs a folder's code")
    family = family_of(values.get("model_type", ""), str(source))
    config = Config(values, str(source))
    config.demand("tie_word_embeddings", True)
    settings, vocabulary_size = _settings(folder, family, config)
    tensors = Tensors(folder)
    if settings.layers > len(tensors.shapes) and not settings.shared_layers:
        raise CheckpointError(
            f"{settings.layers} layers, but {len(tensors.shapes)} tensors", str(folder), "the model is not whole"
        )

    prefix = family.prefix if any(name.startswith(family.prefix) for name in tensors.shapes) else ""
    backbone_names = _prefixed(family.backbone(settings), prefix)
    pooler_names = _prefixed(family.pooler, prefix)
    with torch.device("meta"):
        backbone = build(settings, vocabulary_size)
        pooler = Pooler(settings.width)
        head = MaskedLMHead(
            settings.width,
            settings.embedding_width or settings.width,
            vocabulary_size,
            family.head_activation or settings.activation,
            settings.norm_eps,
        )
    _refuse_unknown(tensors, prefix, backbone_names, pooler_names, folder)
    _fill(backbone, backbone_names, tensors, folder)
    has_pooler = bool(pooler_names) and _has(tensors, pooler_names)
    if has_pooler:
        _fill(pooler, pooler_names, tensors, folder)
    head_names = _with_aliases(family, tensors)
    has_head = _has(tensors, head_names)
    if has_head:
        _fill(head, head_names, tensors, folder)
        _refuse_untied(family, backbone, head, tensors, folder)
    used = {name for names in (backbone_names, pooler_names, head_names) for part in names.values() for name in part}
    others = sorted(set(tensors.shapes) - used - set(family.tied) - _buffers(prefix))
    return HuggingFaceModel(
        settings=settings,
        backbone=backbone.eval(),
        head=head.eval() if has_head else None,
        pooler=pooler.eval() if has_pooler else None,
        config=values,
        others=tuple(others),
    )


def _settings(folder: Path, family: Family, config: Config) -> tuple[EncoderSettings, int]:
    vocabulary_size = config.whole("vocab_size", 0)
    if not vocabulary_size:
        raise config.wrong("vocab_size", config.values.get("vocab_size"), "the number of tokens")
    name = folder.resolve().name
    try:
        return EncoderSettings(name=name, family=config.values["model_type"], **family.shape(config)), vocabulary_size
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"])) or "the shape"
        raise SettingsError(f"{key}: {first['msg']}", config.source, "this model cannot be read") from None


def _prefixed(names: Names, prefix: str) -> Names:
    return {ours: tuple(prefix + name for name in theirs) for ours, theirs in names.items()}


def _has(tensors: Tensors, names: Names) -> bool:
    """Whether any of these tensors is there: then all of them must be."""
    return any(name in tensors.shapes for theirs in names.values() for name in theirs)


def _buffers(prefix: str) -> set[str]:
    """What old versions of transformers saved although it is no weight."""
    return {f"{prefix}embeddings.{name}" for name in ("position_ids", "token_type_ids")}


def _with_aliases(family: Family, tensors: Tensors) -> Names:
    """The head's names, each by the alias that this file has."""
    names = dict(family.head)
    for alias, ours in family.tied.items():
        if ours in names and names[ours][0] not in tensors.shapes and alias in tensors.shapes:
            names[ours] = (alias,)
    return names


def _refuse_unknown(tensors: Tensors, prefix: str, backbone: Names, pooler: Names, folder: Path) -> None:
    """A backbone with more tensors than ours computes something else."""
    known = {name for names in (backbone, pooler) for theirs in names.values() for name in theirs} | _buffers(prefix)
    roots = (prefix,) if prefix else tuple(f"{theirs[0].split('.')[0]}." for theirs in backbone.values())
    unknown = sorted(name for name in tensors.shapes if name.startswith(roots) and name not in known)
    if unknown:
        raise CheckpointError(
            f"tensors that this kind of model does not have: {_listed(unknown)}", str(folder), "see config.json"
        )


def _refuse_untied(family: Family, backbone: Backbone, head: MaskedLMHead, tensors: Tensors, folder: Path) -> None:
    """What repeats another tensor must be equal to it: here the output layer shares the token embeddings."""
    own = dict(backbone.named_parameters()) | dict(head.named_parameters())
    for alias, ours in family.tied.items():
        if alias in tensors.shapes and not torch.equal(tensors.read(alias), own[ours]):
            raise CheckpointError(f"{alias} differs from what it is tied to", str(folder), "plmtrain has no untied output layer")


def _fill(module: nn.Module, names: Names, tensors: Tensors, folder: Path) -> None:
    """Give a module on the meta device its numbers; shapes are compared before anything is read."""
    shapes = {name: tuple(parameter.shape) for name, parameter in module.named_parameters()}
    assert shapes.keys() == names.keys()
    missing = sorted(name for theirs in names.values() for name in theirs if name not in tensors.shapes)
    if missing:
        raise CheckpointError(
            f"missing tensors: {_listed(missing)}", str(folder), "the model is not whole, or config.json is wrong"
        )
    for ours, theirs in names.items():
        expected = (shapes[ours][0] // len(theirs), *shapes[ours][1:])
        for name in theirs:
            if tensors.shapes[name] != expected:
                raise CheckpointError(
                    f"{name} is {list(tensors.shapes[name])}, expected {list(expected)}", str(folder), "config.json does not fit"
                )
    filled = {ours: torch.cat([tensors.read(name) for name in theirs]) for ours, theirs in names.items()}
    module.load_state_dict(filled, assign=True)


def _listed(names: list[str]) -> str:
    rest = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + rest


def _split(module: nn.Module, names: Names) -> dict[str, Tensor]:
    """A module's tensors by their names."""
    own = dict(module.named_parameters())
    split: dict[str, Tensor] = {}
    for ours, theirs in names.items():
        parts = own[ours].detach().float().cpu().chunk(len(theirs))
        split |= {name: part.contiguous() for name, part in zip(theirs, parts, strict=True)}
    return split


def save(
    folder: str | Path,
    backbone: Backbone,
    head: MaskedLMHead | None,
    roles: Mapping[str, int],
    pooler: Pooler | None = None,
) -> None:
    """Write config.json and model.safetensors as transformers' ``save_pretrained`` would.

    Args:
        folder: created if need be; other files in it stay.
        backbone: an encoder.
        head: the masked-LM head; without one the folder is the bare model's.
        roles: the id of each special token by its role.
        pooler: written with the backbone where there is one.

    Raises:
        SettingsError: if the family's code in transformers cannot compute what this model computes.
        DiskError: if the disk refuses.
    """
    from safetensors.torch import save as serialised

    settings = backbone.settings
    assert isinstance(settings, EncoderSettings)
    family = family_of(settings.family, settings.name)
    if differences := family.unlike(settings):
        raise SettingsError(
            f"transformers' {family.architecture} cannot follow this model",
            f"it would need model.{', model.'.join(differences)}",
            "export a model of the family's own shape",
        )
    prefix = family.prefix if head is not None else ""
    tensors = _split(backbone, _prefixed(family.backbone(settings), prefix))
    if head is not None:
        tensors |= _split(head, family.head)
    if pooler is not None and family.pooler:
        tensors |= _split(pooler, _prefixed(family.pooler, prefix))
    config = {
        "architectures": [family.architecture if head is not None else family.bare_architecture],
        "model_type": settings.family,
        "dtype": "float32",
        "vocab_size": backbone.vocabulary_size,
        "tie_word_embeddings": True,
        **{f"{their}_token_id": roles.get(ours) for their, ours in (("bos", "bos"), ("eos", "eos"), ("pad", "pad"))},
        **family.config(settings),
    }
    folder = make_folder(Path(folder))
    write_bytes_atomically(folder / "model.safetensors", serialised(tensors, metadata={"format": "pt"}))
    write_json_atomically(folder / "config.json", config)
