"""The description of a published family's Hugging Face folders: the keys of config.json and the names of tensors."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from plmtrain.errors import SettingsError
from plmtrain.settings.base import MOST
from plmtrain.settings.models.base import ModelSettings

SettingsT = TypeVar("SettingsT", bound=ModelSettings)


@dataclass(frozen=True)
class Source:
    """The tensors of a file that correspond to one of plmtrain's: a single one, or several that are concatenated by rows.

    Args:
        names: the names in the file.
    """

    names: tuple[str, ...]

    def split(self, tensor: Tensor) -> Sequence[Tensor]:
        """Convert plmtrain's tensor to the file's."""
        return tensor.chunk(len(self.names))

    def join(self, tensors: Sequence[Tensor]) -> Tensor:
        """Convert the file's tensors to plmtrain's."""
        return torch.cat(list(tensors)) if len(tensors) > 1 else tensors[0]


class Transposed(Source):
    """The weight of transformers' ``Conv1D``, which is [in, out]."""

    def split(self, tensor: Tensor) -> Sequence[Tensor]:
        return [tensor.t().contiguous()]

    def join(self, tensors: Sequence[Tensor]) -> Tensor:
        (tensor,) = tensors
        return tensor.t().contiguous()


Names = dict[str, Source]
"""The file's tensors for each name of plmtrain's."""

ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
}
"""The names of activations in config.json, and plmtrain's names."""

THEIR_ACTIVATIONS = {"gelu": "gelu", "gelu_tanh": "gelu_new", "relu": "relu"}


_MOST_LABELS = 2**16
"""More classes than any classifier of texts has."""


class Config:
    """A config.json, read key by key so that an error names the key of the invalid value.

    Args:
        values: the content of the file.
        source: the path of the file, for messages.
        tensors: returns the names of the tensors beside it, for a model that the file alone does not describe.
    """

    def __init__(
        self, values: Mapping[str, Any], source: str, tensors: Callable[[], Collection[str]] = lambda: frozenset()
    ) -> None:
        self.values, self.source, self._tensors = values, source, tensors

    @cached_property
    def tensors(self) -> Collection[str]:
        """The names of the tensors in the folder."""
        return self._tensors()

    def whole(self, key: str, default: int) -> int:
        """Return an integer that is not negative, and so small that the product of two cannot overflow a tensor's size."""
        value = self.values.get(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**28:
            raise self.wrong(key, value, "a non-negative integer of a plausible size")
        return value

    def number(self, key: str, default: float) -> float:
        """Return a number."""
        value = self.values.get(key, default)
        # Compared as it is: neither 10^400 nor the infinity that a parser makes of 1e400 can become a float of use.
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not abs(value) <= MOST:
            raise self.wrong(key, value, "a number of a plausible size")
        return float(value)

    def activation(self, key: str, default: str) -> str:
        """Return plmtrain's name of an activation."""
        value = self.values.get(key, default)
        if not isinstance(value, str) or value not in ACTIVATIONS:
            raise self.wrong(key, value, f"one of {', '.join(sorted(ACTIVATIONS))}")
        return ACTIVATIONS[value]

    def labels(self) -> tuple[str, ...]:
        """Return the names of a head's outputs; without names, those that transformers gives ``num_labels``, by default two."""
        named = self.values.get("id2label")
        if named is None:
            count = self.whole("num_labels", 2)
            if not 0 < count <= _MOST_LABELS:
                raise self.wrong("num_labels", count, f"1 to {_MOST_LABELS:,}")
            return tuple(f"LABEL_{number}" for number in range(count))
        numbers = {str(number) for number in range(len(named))} if isinstance(named, Mapping) else set()
        texts = isinstance(named, Mapping) and all(isinstance(label, str) for label in named.values())
        if not texts or not numbers or named.keys() != numbers or len(set(named.values())) < len(named):
            raise self.wrong("id2label", named, "a name for each class number")
        return tuple(named[str(number)] for number in range(len(named)))

    def demand(self, key: str, *accepted: Any) -> None:
        """Refuse a model with a feature that plmtrain does not support; a missing key means the first accepted value."""
        value = self.values.get(key, accepted[0])
        if value not in accepted:
            raise self.wrong(key, value, " or ".join(map(str, accepted)))

    def wrong(self, key: str, value: Any, expected: str) -> SettingsError:
        """Return the error for a value that is not supported."""
        return SettingsError(f"{key} is {_shown(value)}, expected {expected}", self.source, "this model cannot be read")


def _shown(value: Any) -> str:
    """Return a value as it is written, shortened; Python refuses to write a number of thousands of digits."""
    try:
        return repr(value)[:80]
    except ValueError:
        return "a number of thousands of digits"


Kinds = frozenset[type[nn.Module]]
"""The types of heads, given by their classes."""


@dataclass(frozen=True, kw_only=True)
class Head(Generic[SettingsT]):
    """A type of head with a family's names.

    Args:
        make: builds it from the model's settings and the folder's config.json.
        names: the names of its tensors; names that the bare class also has start with the backbone's prefix.
        only_if_named: whether its tensors are those of other heads as well, so that config.json must name its class.
        fits: whether models with these settings can have it, where tensors of its names may belong to another head.
        config: from the head and its classes to the keys of a config.json that define what the head computes.
        labels: from a config.json to the classes of the head; none for a head without classes.
    """

    make: Callable[[SettingsT, Config], nn.Module]
    names: Names
    only_if_named: bool = False
    fits: Callable[[SettingsT], bool] = lambda settings: True
    config: Callable[[Any, tuple[str, ...]], dict[str, Any]] = lambda head, labels: {}
    labels: Callable[[Config], tuple[str, ...]] = lambda config: ()


@dataclass(frozen=True, kw_only=True)
class Family(Generic[SettingsT]):
    """The format of a family's folders.

    Args:
        settings: the class of its models' settings.
        prefix: the prefix of the backbone's names in classes with heads.
        shape: converts a config.json to the keyword arguments of the settings.
        config: converts settings to the keys of a config.json that define a model's shape.
        unlike: the settings that the family's code in transformers demands where plmtrain supports other values; may be empty.
        backbone: the names of the backbone's tensors, without the prefix.
        heads: the heads of its classes; also those that no class of transformers has, by their authors' names: they are written
            beside the tensors of the class, which skips them.
        bare: the class whose names have no prefix.
        classes: transformers' classes, each with its heads.
        repeats: names of tensors that a file may contain in addition to, or instead of, the equal tensors they are mapped to.
        buffers: names of tensors in files that are not weights, without the prefix; ``*`` stands for the number of a layer.
        zeros: a tensor that the classes with heads save although it is always zero; if it is not, the model is not supported.
        unties: whether some of its models have an output layer of their own, so that ``shape`` reads ``tie_word_embeddings``.
        generation: whether its models generate text, so that transformers needs the start token in the config.json.
        tolerance: the maximum difference of scores after an export and a new import of the weights.
        aliases: alternative keys of a config.json; if present, each has precedence over the key it is mapped to.
        special: further keys of a config.json that name special tokens, each with the token's role.
    """

    settings: type[SettingsT]
    prefix: str
    shape: Callable[[Config], dict[str, Any]]
    config: Callable[[SettingsT], dict[str, Any]]
    unlike: Callable[[SettingsT], list[str]]
    backbone: Callable[[SettingsT], Names]
    heads: Mapping[type[nn.Module], Head[SettingsT]]
    bare: str
    classes: Sequence[tuple[str, Kinds]]
    repeats: Mapping[str, str]
    buffers: frozenset[str] = frozenset()
    zeros: str | None = None
    unties: bool = False
    generation: bool = False
    tolerance: float = 1e-5
    aliases: Mapping[str, str] = field(default_factory=dict)
    special: Mapping[str, str] = field(default_factory=dict)


def one(ours: str, theirs: str) -> Names:
    """Return the names of a single tensor."""
    return {ours: Source((theirs,))}


def pair(ours: str, *theirs: str) -> Names:
    """Return the names of a layer's weight and bias."""
    return {f"{ours}.{kind}": Source(tuple(f"{name}.{kind}" for name in theirs)) for kind in ("weight", "bias")}


def conv1d(ours: str, theirs: str) -> Names:
    """Return the names of a layer's weight and bias in a ``Conv1D``, whose weight is transposed."""
    return {f"{ours}.weight": Transposed((f"{theirs}.weight",)), f"{ours}.bias": Source((f"{theirs}.bias",))}


def unlike(settings: ModelSettings, demands: Mapping[str, Any]) -> list[str]:
    """Return the differences between settings and a family's demands, each as ``key=demanded (is actual)``."""
    return [
        f"{key}={wanted} (is {getattr(settings, key)})" for key, wanted in demands.items() if getattr(settings, key) != wanted
    ]
