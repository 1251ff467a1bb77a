"""A model as Hugging Face's classes cut it: a backbone and the heads on it, and what they compute."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from plmtrain.backbones import Backbone
from plmtrain.backbones.encoder_decoder import EncoderDecoder
from plmtrain.batch import Inputs
from plmtrain.nn.boundary import SpanBoundaryHead
from plmtrain.nn.heads import MaskedLMHead, PairHead, Pooler, ReplacedTokenHead, SentenceHead, TiedHead
from plmtrain.settings.models.base import ModelSettings
from plmtrain.tasks.classification import HEADS


@dataclass(frozen=True, kw_only=True)
class Model:
    """A backbone and the heads on it.

    Args:
        backbone: always there.
        heads: by their classes.
        labels: the classes that a classifier tells apart, in the order of their numbers.
    """

    backbone: Backbone
    heads: Mapping[type[nn.Module], nn.Module]
    labels: tuple[str, ...] = ()

    @classmethod
    def of(cls, modules: Iterable[nn.Module], labels: tuple[str, ...] = ()) -> Model:
        """The model that some modules are, one of them a backbone. What that shares with another one, it gets for itself."""
        modules = list(modules)
        (backbone,) = (module for module in modules if isinstance(module, Backbone))
        heads = {type(module): module for module in modules if module is not backbone}
        return cls(backbone=backbone.whole(), heads=heads, labels=labels)

    @property
    def settings(self) -> ModelSettings:
        """The shape of the backbone."""
        return self.backbone.settings

    @property
    def pooler(self) -> nn.Linear | None:
        """The dense layer that sums up a row at its first token; in some families' classifiers it is the first of the head."""
        if Pooler in self.heads:
            return cast(Pooler, self.heads[Pooler]).dense
        head = self.heads.get(SentenceHead)
        return cast(SentenceHead, head).dense if head is not None and HEADS[self.settings.family].pooled else None

    @property
    def modules(self) -> dict[str, nn.Module]:
        """All modules, each by what it is called."""
        return {"a backbone": self.backbone, **{called(kind): head for kind, head in self.heads.items()}}


Scores = Callable[[Any, Model, Tensor, Inputs], Tensor]
"""What a head makes of a model's last hidden states, [batch, length, width], and of what the model read."""


def _vocabulary(head: nn.Module, model: Model, hidden: Tensor, inputs: Inputs) -> Tensor:
    scores: Tensor = head(hidden, model.backbone.embedding_weight)
    return scores


def _tokens(head: nn.Module, model: Model, hidden: Tensor, inputs: Inputs) -> Tensor:
    scores: Tensor = head(hidden)
    return scores


def _pairs(head: nn.Module, model: Model, hidden: Tensor, inputs: Inputs) -> Tensor:
    scores: Tensor = head(model.heads[Pooler](hidden))
    return scores


def _sentences(head: nn.Module, model: Model, hidden: Tensor, inputs: Inputs) -> Tensor:
    reads = HEADS[model.settings.family].reads
    tokens = torch.ones_like(inputs.ids, dtype=torch.bool) if inputs.layout.tokens is None else inputs.layout.tokens
    closing = tokens.sum(dim=1) - 1
    state = hidden[torch.arange(len(hidden)), closing] if reads == "decoder" else hidden[:, 0 if reads == "first" else -1]
    scores: Tensor = head(state)
    return scores


_HEADS: Mapping[type[nn.Module], tuple[str, Scores]] = {
    MaskedLMHead: ("a language-model head", _vocabulary),
    TiedHead: ("a language-model head", _vocabulary),
    Pooler: ("a pooler", _tokens),
    ReplacedTokenHead: ("a head for replaced tokens", _tokens),
    SentenceHead: ("a head for classes", _sentences),
    PairHead: ("a head for pairs of sentences", _pairs),
}


_NOWHERE: Mapping[type[nn.Module], str] = {SpanBoundaryHead: "a head for what lies between two tokens"}
"""Heads for which no class of transformers has a place, by what they are called."""


def called(kind: type[nn.Module]) -> str:
    """What a kind of head is called in messages."""
    return _HEADS[kind][0] if kind in _HEADS else _NOWHERE.get(kind, f"a {kind.__name__}")


def outputs(model: Model, inputs: Inputs) -> dict[str, Tensor]:
    """Compute a model's hidden states, and the scores of each of its heads, by what they are called."""
    hidden = model.backbone.hidden(inputs)
    scores = {called(kind): _HEADS[kind][1](head, model, hidden, inputs) for kind, head in model.heads.items() if kind in _HEADS}
    return {"a backbone": hidden, **scores}


def vocabulary_scores(model: Model, inputs: Inputs) -> Tensor | None:
    """Return the scores of a model's language-model head, [batch, length, vocabulary]; None if it has none."""
    head = model.heads.get(MaskedLMHead) or model.heads.get(TiedHead)
    if head is not None:
        return _vocabulary(head, model, model.backbone.hidden(inputs), inputs)
    if isinstance(model.backbone, EncoderDecoder) and not model.heads:
        return functional.linear(model.backbone.hidden(inputs), model.backbone.embedding_weight)
    return None
