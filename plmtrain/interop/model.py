"""A model as Hugging Face's classes cut it: a backbone and the heads on it, and what they compute."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from plmtrain.backbones import Backbone
from plmtrain.batch import Layout
from plmtrain.nn.heads import MaskedLMHead, PairHead, Pooler, ReplacedTokenHead, TiedHead
from plmtrain.settings.models.base import ModelSettings


@dataclass(frozen=True, kw_only=True)
class Model:
    """A backbone and the heads on it.

    Args:
        backbone: always there.
        heads: by their classes.
    """

    backbone: Backbone
    heads: Mapping[type[nn.Module], nn.Module]

    @classmethod
    def of(cls, modules: Iterable[nn.Module]) -> Model:
        """The model that some modules are, one of them a backbone. What that shares with another one, it gets for itself."""
        modules = list(modules)
        (backbone,) = (module for module in modules if isinstance(module, Backbone))
        return cls(backbone=backbone.whole(), heads={type(module): module for module in modules if module is not backbone})

    @property
    def settings(self) -> ModelSettings:
        """The shape of the backbone."""
        return self.backbone.settings

    @property
    def modules(self) -> dict[str, nn.Module]:
        """All modules, each by what it is called."""
        return {"a backbone": self.backbone, **{called(kind): head for kind, head in self.heads.items()}}


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What a model reads.

    Args:
        ids: [batch, length] token ids.
        layout: who may see whom.
        segments: [batch, length] segment ids, where the model has segments.
    """

    ids: Tensor
    layout: Layout
    segments: Tensor | None = None


Scores = Callable[[Any, Model, Tensor], Tensor]
"""What a head makes of a model's hidden states, [batch, length, width]."""


def _vocabulary(head: nn.Module, model: Model, hidden: Tensor) -> Tensor:
    scores: Tensor = head(hidden, model.backbone.embedding_weight)
    return scores


_HEADS: Mapping[type[nn.Module], tuple[str, Scores]] = {
    MaskedLMHead: ("a language-model head", _vocabulary),
    TiedHead: ("a language-model head", _vocabulary),
    Pooler: ("a pooler", lambda head, model, hidden: head(hidden)),
    ReplacedTokenHead: ("a head for replaced tokens", lambda head, model, hidden: head(hidden)),
    PairHead: ("a head for pairs of sentences", lambda head, model, hidden: head(model.heads[Pooler](hidden))),
}


def called(kind: type[nn.Module]) -> str:
    """What a kind of head is called in messages."""
    return _HEADS[kind][0] if kind in _HEADS else f"a {kind.__name__}"


def outputs(model: Model, inputs: Inputs) -> dict[str, Tensor]:
    """What a model computes: its hidden states, and the scores of each of its heads, by what they are called."""
    hidden = model.backbone.encode(inputs.ids, inputs.layout, inputs.segments)  # [batch, length, width]
    scores = {called(kind): _HEADS[kind][1](head, model, hidden) for kind, head in model.heads.items() if kind in _HEADS}
    return {"a backbone": hidden, **scores}
