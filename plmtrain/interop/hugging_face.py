"""Reading a model from a Hugging Face folder (config.json and model.safetensors), and writing one."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import nn

from plmtrain.backbones import build
from plmtrain.errors import CheckpointError, SettingsError, nearest
from plmtrain.files import disk_errors, make_folder, write_json_atomically
from plmtrain.interop import families
from plmtrain.interop.family import Config, Family, Kinds, Names
from plmtrain.interop.folder import WEIGHTS, Tensors, own_file, read_json, refuse_code
from plmtrain.interop.model import Model
from plmtrain.interop.placing import fill, flat, listed, named_tensors, present, renamed
from plmtrain.interop.sentence_heads import MULTI_LABEL
from plmtrain.nn.initialisation import without_weights
from plmtrain.settings.models.base import ModelSettings
from plmtrain.training import tensor_file

FAMILIES = tuple(sorted(module.name for module in pkgutil.iter_modules(families.__path__)))
"""The families whose folders are read and written. Most have their name as ``model_type`` in a config.json."""

MODEL_TYPES: Mapping[str, str] = {"gpt1": "openai-gpt", "deberta_v2": "deberta-v2"}
"""Families with another ``model_type``."""

SAME_AS: Mapping[str, tuple[str, str]] = {
    "xlm-roberta": ("roberta", "XLMRoberta"),
    "camembert": ("roberta", "Camembert"),
}
"""Further values of ``model_type`` that are read: the family that computes the same, and what its classes' names begin with."""

_OTHERWISE: Mapping[str, str] = {
    "mass": "transformers has no class for MASS",
    "mbart": "it has BART's names, but norms before each sub-layer",
    "xlm-roberta-xl": "it has RoBERTa's names, but norms before each sub-layer",
    "roberta-prelayernorm": "it has RoBERTa's names, but norms before each sub-layer",
    "longformer": "it has RoBERTa's names, but attention within a window",
    "big_bird": "it has BERT's names, but sparse attention",
    "roformer": "it has BERT's names, but rotary positions",
    "megatron-bert": "it has BERT's names, but norms before each sub-layer",
}
"""Values of ``model_type`` that look like a supported family, with the difference."""

CONFIG = "config.json"
GENERATION = "generation_config.json"

_MOST_LAYERS = 1000
"""More layers than any model of these families has; without a limit, a shared layer could be applied almost endlessly."""


@dataclass(frozen=True, kw_only=True)
class HuggingFaceModel(Model):
    """The content of a folder as modules of plmtrain.

    Args:
        config: the folder's config.json.
    """

    config: Mapping[str, Any]

    @property
    def roles(self) -> dict[str, int]:
        """The ids of the special tokens that the config.json names, by role."""
        named = {role: self.config.get(f"{role}_token_id") for role in ("pad", "cls", "sep", "mask", "bos", "eos")}
        return {role: token for role, token in named.items() if isinstance(token, int)}

    @property
    def family(self) -> Family[Any]:
        """The model's family."""
        return family_of(self.settings.family, "")


@dataclass(frozen=True)
class Saved:
    """The result of saving a model.

    Args:
        architecture: the class of transformers that reads it, or what else it is.
        kinds: the heads of the class.
        left_out: the heads that the class does not have, which were omitted.
        beside: the heads that the class does not have, and that are written by their authors' names.
        of_transformers: whether transformers reads it.
    """

    architecture: str
    kinds: Kinds
    left_out: tuple[type[nn.Module], ...]
    beside: tuple[type[nn.Module], ...] = ()
    of_transformers: bool = True


def family_of(name: object, source: str) -> Family[Any]:
    """Return a family by its name, or by a ``model_type``.

    Raises:
        SettingsError: if plmtrain does not support the family.
    """
    if isinstance(name, str):
        name = _family_name(name)
    if name not in FAMILIES:
        supported = sorted({*(MODEL_TYPES.get(each, each) for each in FAMILIES), *SAME_AS})
        what = f"model_type is {name!r:.80}, which plmtrain does not support"
        if reason := _OTHERWISE.get(str(name)):
            raise SettingsError(f"{what}: {reason}", source, f"take a model of one of these: {', '.join(supported)}")
        raise SettingsError(what, source, nearest(str(name), supported))
    family: Family[Any] = importlib.import_module(f"{families.__name__}.{name}").FAMILY
    return family


def _family_name(model_type: str) -> str:
    """Return the name of the family whose code reads a ``model_type``."""
    own, _ = SAME_AS.get(model_type, (model_type, ""))
    return next((name for name, theirs in MODEL_TYPES.items() if theirs == own), own)


def settings_of(folder: str | Path) -> ModelSettings:
    """Return the settings of a folder's model, without reading its weights.

    Raises:
        SettingsError: if its model is not supported, or needs custom code.
    """
    return _shape(Path(folder))[2]


def read(folder: str | Path) -> HuggingFaceModel:
    """Read a folder written by transformers' ``save_pretrained`` or by ``save``.

    Raises:
        SettingsError: if its model is not supported, or needs custom code.
        CheckpointError: if tensors are missing, unknown, of the wrong shape, damaged or not finite.
    """
    folder = Path(folder)
    family, config, settings = _shape(folder)
    tensors = Tensors(folder)

    prefix = family.prefix if any(name.startswith(family.prefix) for name in tensors.shapes) else ""

    def here(name: str) -> str:
        """Return a name of the family as in this file, which may have the names of the class without a prefix."""
        return prefix + name.removeprefix(family.prefix) if name.startswith(family.prefix) else name

    repeats = {here(name): here(other) for name, other in family.repeats.items()}
    backbone_names = present(renamed(family.backbone(settings), lambda name: prefix + name), repeats, tensors)
    head_names = {
        kind: present(renamed(head.names, here), repeats, tensors) for kind, head in family.heads.items() if head.fits(settings)
    }
    head_names = {kind: head_names[kind] for kind in _kinds(family, config, head_names, tensors)}
    with without_weights():
        backbone = build(settings, config.whole("vocab_size", 0))
        heads = {kind: family.heads[kind].make(settings, config) for kind in head_names}
    known = flat([backbone_names, *head_names.values()]) | repeats.keys()
    known |= {name for name in tensors.shapes if any(fnmatchcase(name, prefix + buffer) for buffer in family.buffers)}
    _refuse_unknown(tensors, prefix, backbone_names, known, folder)
    labels = next((labels for kind in heads if (labels := family.heads[kind].labels(config))), ())
    fill(backbone, backbone_names, tensors, folder)
    for kind, names in head_names.items():
        fill(heads[kind], names, tensors, folder)
    own = flat([family.backbone(settings)])
    _refuse_untied({name: other for name, other in repeats.items() if name.removeprefix(prefix) not in own}, tensors, folder)
    if family.zeros in tensors.shapes:
        known.add(family.zeros)
        if tensors.read(family.zeros).any():
            raise CheckpointError(f"{family.zeros} is not zero", str(folder), "plmtrain does not support this tensor")
    return HuggingFaceModel(
        backbone=backbone.eval(),
        heads={kind: head.eval() for kind, head in heads.items()},
        labels=labels,
        multi_label=bool(labels) and config.values.get("problem_type") == MULTI_LABEL,
        config=config.values,
        others=tuple(sorted(tensors.shapes.keys() - known)),
    )


def _shape(folder: Path) -> tuple[Family[Any], Config, ModelSettings]:
    source = own_file(folder, CONFIG)
    values = read_json(source)
    refuse_code(values, source)
    family = family_of(values.get("model_type"), str(source))
    renamed_values = values | {name: values[old] for old, name in family.aliases.items() if old in values}
    config = Config(renamed_values, str(source), lambda: Tensors(folder).shapes)
    if not family.unties:
        config.demand("tie_word_embeddings", True)
    if not config.whole("vocab_size", 0):
        raise config.wrong("vocab_size", values.get("vocab_size"), "the number of tokens")
    shape = family.shape(config)
    if shape["layers"] > _MOST_LAYERS:
        raise config.wrong("the number of layers", shape["layers"], f"at most {_MOST_LAYERS}")
    try:
        name = _family_name(values["model_type"])
        return family, config, family.settings(name=_name(folder), family=name, **shape)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"])) or "the shape"
        raise SettingsError(f"{key}: {first['msg']}", config.source, "this model cannot be read") from None


def _name(folder: Path) -> str:
    """Return a name for the model that the settings accept, whatever the name of its folder."""
    kept = "".join(
        letter if letter.isascii() and (letter.isalnum() or letter in "_.-") else "_" for letter in folder.resolve().name
    )
    return kept.lstrip("_.-")[:64] or "model"


def _kinds(
    family: Family[Any], config: Config, names: Mapping[type[nn.Module], Names], tensors: Tensors
) -> list[type[nn.Module]]:
    """Return the heads in a file; a head with any of its tensors in the file must have all of them."""
    stated = config.values.get("architectures")
    named = stated[0] if isinstance(stated, list) and stated else None
    _, prefix = SAME_AS.get(config.values["model_type"], ("", ""))
    if prefix and isinstance(named, str):
        named = named.replace(prefix, family.bare.removesuffix("Model"), 1)
    wanted: Kinds = next((kinds for name, kinds in family.classes if name == named), frozenset())
    kinds = [kind for kind in names if kind in wanted and flat([names[kind]]) & tensors.shapes.keys()]
    used = flat(names[kind] for kind in kinds)
    kinds += [
        kind
        for kind in names
        if kind not in wanted and not family.heads[kind].only_if_named and (flat([names[kind]]) & tensors.shapes.keys()) - used
    ]
    return kinds


def _refuse_unknown(tensors: Tensors, prefix: str, backbone: Names, known: set[str], folder: Path) -> None:
    """Refuse a backbone with unknown tensors, since it computes something else."""
    roots = (prefix,) if prefix else tuple({f"{name.split('.')[0]}." for name in flat([backbone])})
    unknown = sorted(name for name in tensors.shapes if name.startswith(roots) and name not in known)
    if unknown:
        raise CheckpointError(f"tensors that this kind of model does not have: {listed(unknown)}", str(folder), "see config.json")


def _refuse_untied(repeats: Mapping[str, str], tensors: Tensors, folder: Path) -> None:
    """Refuse tied tensors that are not equal: in plmtrain the output layer shares the token embeddings."""
    for name, other in repeats.items():
        both = name in tensors.shapes and other in tensors.shapes
        if both and not torch.equal(tensors.read(name), tensors.read(other)):
            raise CheckpointError(
                f"{name} differs from what it is tied to", str(folder), "plmtrain does not support an untied output layer"
            )


def class_for(family: Family[Any], kinds: Kinds) -> tuple[str, Kinds]:
    """Return the class of a family that has most of these heads, and no others."""
    return max(((name, has) for name, has in family.classes if has <= kinds), key=lambda entry: len(entry[1]))


def save(folder: str | Path, model: Model, roles: Mapping[str, int]) -> Saved:
    """Write config.json and model.safetensors as transformers' ``save_pretrained`` would.

    Args:
        folder: created if necessary; it must not contain the two files yet.
        model: heads that no class of the family has are omitted.
        roles: the id of each special token by its role.

    Raises:
        SettingsError: if the family's code in transformers computes something else than this model.
        DiskError: if the files cannot be written.
    """
    settings = model.settings
    family = family_of(settings.family, settings.name)
    beside = _beside(family, model)
    architecture, kinds = class_for(family, frozenset(model.heads) - beside)
    if differences := family.unlike(settings):
        raise SettingsError(
            f"transformers' {architecture} cannot compute this model",
            f"it would need model.{', model.'.join(differences)}",
            "export a model with the family's own settings",
        )
    special = {f"{role}_token_id": roles.get(role) for role in ("bos", "eos", "pad")}
    if settings.kind == "decoder" and special["pad_token_id"] is None:
        # GPT-2 has no padding token, and transformers' class for sequences finds their last token by its id.
        special["pad_token_id"] = special["eos_token_id"]
    special |= {key: roles[role] for key, role in family.special.items() if role in roles}
    shape = family.config(settings)
    if (pad := shape.get("pad_token_id")) is not None and pad != special["pad_token_id"]:
        raise SettingsError(
            f"transformers' {architecture} counts positions from its padding token's id, which would be {pad}",
            f"the tokenizer's is {special['pad_token_id']}",
            "train with a tokenizer of the model's family",
        )
    heads = {kind: head for kind, head in family.heads.items() if kind in kinds | beside}
    bare = architecture == family.bare and not beside
    tensors = named_tensors(
        model.backbone, renamed(family.backbone(settings), lambda name: name if bare else family.prefix + name)
    )
    for kind, head in heads.items():
        tensors |= named_tensors(
            model.heads[kind], renamed(head.names, lambda name: name.removeprefix(family.prefix) if bare else name)
        )
    if family.zeros is not None and not heads:
        tensors[family.zeros] = torch.zeros(1, model.backbone.vocabulary_size)
    config = {
        "architectures": [architecture],
        "model_type": MODEL_TYPES.get(settings.family, settings.family),
        "dtype": "float32",
        "vocab_size": model.backbone.vocabulary_size,
        "tie_word_embeddings": True,
        **special,
        **shape,
        **{key: value for kind, head in heads.items() for key, value in head.config(model.heads[kind], model.labels).items()},
        **({"problem_type": MULTI_LABEL} if model.multi_label else {}),
    }
    folder = make_folder(Path(folder))
    with disk_errors(folder / WEIGHTS, tensor_file.byte_size(tensors)):
        tensor_file.write(folder / WEIGHTS, tensors)
    if family.generation:
        config["decoder_start_token_id"] = start = roles.get(settings.published.decoder_start)
        if not heads:
            # Where text is framed in training, it begins with the opening token and ends with the closing one.
            forced = {"forced_bos_token_id": roles.get("bos"), "forced_eos_token_id": roles.get("eos")}
            forced = forced if settings.published.writes_frame else {}
            write_json_atomically(folder / GENERATION, {**special, "decoder_start_token_id": start, **forced})
    write_json_atomically(folder / CONFIG, config)
    left_out = tuple(kind for kind in model.heads if kind not in kinds | beside)
    return Saved(architecture, kinds, left_out, tuple(kind for kind in model.heads if kind in beside))


def _beside(family: Family[Any], model: Model) -> Kinds:
    """Return the heads of a model that are written although no class of its family has them."""
    of_classes = frozenset[type[nn.Module]]().union(*(kinds for _, kinds in family.classes))
    return frozenset(kind for kind in model.heads if kind in family.heads and kind not in of_classes)
