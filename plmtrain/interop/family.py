"""What a published family's Hugging Face folder looks like: the keys of its config.json and the names of its tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from plmtrain.errors import SettingsError
from plmtrain.settings.models.encoder import EncoderSettings

Names = dict[str, tuple[str, ...]]
"""For each tensor of ours, the tensor of theirs that it is, or those that it consists of, one below the other."""

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

    def demand(self, key: str, *accepted: Any) -> None:
        """Refuse a model that does something of which we have no part; a missing key is the first accepted value."""
        value = self.values.get(key, accepted[0])
        if value not in accepted:
            raise self.wrong(key, value, " or ".join(map(str, accepted)))

    def wrong(self, key: str, value: Any, expected: str) -> SettingsError:
        """The error for a value that cannot be used."""
        return SettingsError(f"{key} is {value!r:.80}, expected {expected}", self.source, "this model cannot be read")


@dataclass(frozen=True, kw_only=True)
class Family:
    """One family's folder.

    Args:
        architecture: the class with a language-model head.
        bare_architecture: the class without a head.
        prefix: what the backbone's names begin with in classes with heads.
        shape: from a config.json to the keyword arguments of ``EncoderSettings``.
        config: the keys of a config.json that say a model's shape.
        unlike: the settings that this family's code cannot follow, each with what it demands; empty if it can follow all.
        backbone: names of the backbone's tensors, without the prefix.
        head: names of the language-model head's tensors.
        tied: names that a file may have beside others, each with the tensor of ours that it repeats.
        pooler: names of the pooler's tensors, without the prefix; empty if the family has none.
        head_activation: of the language-model head where the family's code has a fixed one.
    """

    architecture: str
    bare_architecture: str
    prefix: str
    shape: Callable[[Config], dict[str, Any]]
    config: Callable[[EncoderSettings], dict[str, Any]]
    unlike: Callable[[EncoderSettings], list[str]]
    backbone: Callable[[EncoderSettings], Names]
    head: Names
    tied: Mapping[str, str]
    pooler: Names = field(default_factory=dict)
    head_activation: str | None = None


def pair(ours: str, *theirs: str) -> Names:
    """The names of a layer's weight and bias."""
    return {f"{ours}.{kind}": tuple(f"{name}.{kind}" for name in theirs) for kind in ("weight", "bias")}


def unlike(settings: EncoderSettings, demands: Mapping[str, Any]) -> list[str]:
    """What differs between settings and a family's demands, each as ``key=demanded (is actual)``."""
    return [
        f"{key}={wanted} (is {getattr(settings, key)})" for key, wanted in demands.items() if getattr(settings, key) != wanted
    ]
