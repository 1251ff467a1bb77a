"""What a published family's Hugging Face folder looks like: the keys of its config.json and the names of its tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from plmtrain.errors import SettingsError
from plmtrain.settings.models.base import ModelSettings

SettingsT = TypeVar("SettingsT", bound=ModelSettings)


@dataclass(frozen=True)
class Source:
    """Where a tensor of ours is in a file: it is another one, or consists of several, one below the other.

    Args:
        names: theirs.
    """

    names: tuple[str, ...]

    def split(self, tensor: Tensor) -> Sequence[Tensor]:
        """Ours as theirs."""
        return tensor.chunk(len(self.names))

    def join(self, tensors: Sequence[Tensor]) -> Tensor:
        """Theirs as ours."""
        return torch.cat(list(tensors)) if len(tensors) > 1 else tensors[0]


Names = dict[str, Source]
"""For each tensor of ours, where it is in a file."""

ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
}
"""Their names for activations, and ours."""

THEIR_ACTIVATIONS = {"gelu": "gelu", "gelu_tanh": "gelu_new", "relu": "relu"}


class Config:
    """A config.json, read key by key so that a wrong value is told by its name.

    Args:
        values: what the file holds.
        source: the file, for messages.
    """

    def __init__(self, values: Mapping[str, Any], source: str) -> None:
        self.values, self.source = values, source

    def whole(self, key: str, default: int) -> int:
        """A whole number, neither negative nor so large that the product of two would overflow a tensor's size."""
        value = self.values.get(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**28:
            raise self.wrong(key, value, "a whole number that a model may have")
        return value

    def number(self, key: str, default: float) -> float:
        """Any number."""
        value = self.values.get(key, default)
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            raise self.wrong(key, value, "a number")
        return float(value)

    def activation(self, key: str, default: str) -> str:
        """Our name of an activation."""
        value = self.values.get(key, default)
        if not isinstance(value, str) or value not in ACTIVATIONS:
            raise self.wrong(key, value, f"one of {', '.join(sorted(ACTIVATIONS))}")
        return ACTIVATIONS[value]

    def labels(self) -> tuple[str, ...]:
        """The names of a head's outputs; two without names where the file says nothing."""
        named = self.values.get("id2label", {"0": "LABEL_0", "1": "LABEL_1"})
        numbers = {str(number) for number in range(len(named))} if isinstance(named, Mapping) else set()
        texts = isinstance(named, Mapping) and all(isinstance(label, str) for label in named.values())
        if not texts or not numbers or named.keys() != numbers or len(set(named.values())) < len(named):
            raise self.wrong("id2label", named, "a name for each class, by its number")
        return tuple(named[str(number)] for number in range(len(named)))

    def demand(self, key: str, *accepted: Any) -> None:
        """Refuse a model that does something of which we have no part; a missing key is the first accepted value."""
        value = self.values.get(key, accepted[0])
        if value not in accepted:
            raise self.wrong(key, value, " or ".join(map(str, accepted)))

    def wrong(self, key: str, value: Any, expected: str) -> SettingsError:
        """The error for a value that cannot be used."""
        return SettingsError(f"{key} is {value!r:.80}, expected {expected}", self.source, "this model cannot be read")


Kinds = frozenset[type[nn.Module]]
"""Kinds of heads, by their classes."""


@dataclass(frozen=True, kw_only=True)
class Head(Generic[SettingsT]):
    """One kind of head in a family's names.

    Args:
        make: builds it from the model's settings and the config.json of the folder that has its tensors.
        names: of its tensors; those that the bare class has, too, begin with the backbone's prefix.
        only_if_named: whether its tensors alone do not tell it from other heads, so that config.json must name its class.
        config: from the head and the classes that it tells apart to the keys of a config.json that say what it computes.
        labels: from a config.json to the classes that the head tells apart; none for a head that tells no classes apart.
    """

    make: Callable[[SettingsT, Config], nn.Module]
    names: Names
    only_if_named: bool = False
    config: Callable[[Any, tuple[str, ...]], dict[str, Any]] = lambda head, labels: {}
    labels: Callable[[Config], tuple[str, ...]] = lambda config: ()


@dataclass(frozen=True, kw_only=True)
class Family(Generic[SettingsT]):
    """One family's folder.

    Args:
        settings: the class of its models' settings.
        prefix: what the backbone's names begin with in classes with heads.
        shape: from a config.json to the keyword arguments of the settings.
        config: the keys of a config.json that say a model's shape.
        unlike: the settings that this family's code cannot follow, each with what it demands; empty if it can follow all.
        backbone: names of the backbone's tensors, without the prefix.
        heads: the heads of its classes.
        bare: the class whose names have no prefix.
        classes: transformers' classes, each with the heads that it has.
        repeats: names that a file may have beside others, or in their place, each with the one that it is equal to.
        buffers: names of what is no weight and may be in files, without the prefix.
        zeros: a tensor that the classes with heads save although it is always zero; one that is not is no model of ours.
        generation: whether its models write text, which transformers wants to be told how to begin.
        tolerance: how far a score may lie from that of the same weights read anew.
        aliases: keys of a config.json that say what another key says in other files; they count where they are there.
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
    generation: bool = False
    tolerance: float = 1e-5
    aliases: Mapping[str, str] = field(default_factory=dict)
    special: Mapping[str, str] = field(default_factory=dict)


def one(ours: str, theirs: str) -> Names:
    """The name of a tensor."""
    return {ours: Source((theirs,))}


def pair(ours: str, *theirs: str) -> Names:
    """The names of a layer's weight and bias."""
    return {f"{ours}.{kind}": Source(tuple(f"{name}.{kind}" for name in theirs)) for kind in ("weight", "bias")}


def unlike(settings: ModelSettings, demands: Mapping[str, Any]) -> list[str]:
    """What differs between settings and a family's demands, each as ``key=demanded (is actual)``."""
    return [
        f"{key}={wanted} (is {getattr(settings, key)})" for key, wanted in demands.items() if getattr(settings, key) != wanted
    ]
