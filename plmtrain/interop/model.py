"""A model as in Hugging Face's classes: a backbone and its heads, and their outputs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from torch import Tensor, nn
from torch.nn import functional

from plmtrain.backbones import Backbone
from plmtrain.backbones.encoder_decoder import SourceEncoder
from plmtrain.batch import Inputs
from plmtrain.nn.boundary import SpanBoundaryHead
from plmtrain.nn.heads import MaskDecoderHead, MaskedLMHead, PairHead, Pooler, ReplacedTokenHead, TeacherProjection, TiedHead
from plmtrain.nn.replaced_tokens import ContextReplacedTokenHead
from plmtrain.nn.scalar_mix import ScalarMix
from plmtrain.nn.task_heads import (
    BiasedLinearHead,
    ChoiceHead,
    LinearChoiceHead,
    LinearHead,
    SentenceHead,
    SpanHead,
    TokenLabelHead,
    row_state,
)
from plmtrain.nn.word_softmax import WordSoftmax
from plmtrain.settings.models.base import ModelSettings


@dataclass(frozen=True, kw_only=True)
class Model:
    """A backbone and its heads.

    Args:
        backbone: the backbone.
        heads: the heads, by their classes.
        labels: the classes of a classifier, in the order of their numbers; none without a classifier.
        multi_label: whether each class is told apart from the others, so that a text may have several.
        others: names of tensors in the folder that belong to none of the modules, such as those of an unsupported head.
    """

    backbone: Backbone
    heads: Mapping[type[nn.Module], nn.Module]
    labels: tuple[str, ...] = ()
    multi_label: bool = False
    others: tuple[str, ...] = ()

    @classmethod
    def of(cls, modules: Iterable[nn.Module], labels: tuple[str, ...] = (), *, multi_label: bool = False) -> Model:
        """Make a model from modules, one of them a backbone, which gets its own copy of borrowed embeddings."""
        modules = list(modules)
        (backbone,) = (module for module in modules if isinstance(module, Backbone))
        heads = {type(module): module for module in modules if module is not backbone}
        return cls(backbone=backbone.whole(), heads=heads, labels=labels, multi_label=multi_label)

    @property
    def settings(self) -> ModelSettings:
        """The backbone's settings."""
        return self.backbone.settings

    @property
    def roles(self) -> dict[str, int]:
        """The ids of the special tokens that the folder of the model names, by role."""
        return {}

    @property
    def offers(self) -> list[str]:
        """The modules and unknown tensors in the folder of the model, for messages."""
        return [*self.modules, *(f"{name} (not read)" for name in sorted({name.split(".")[0] for name in self.others}))]

    @property
    def pooler(self) -> nn.Linear | None:
        """The pooler's dense layer on the first token, or None; in some families it is the first layer of the classifier."""
        if Pooler in self.heads:
            return cast(Pooler, self.heads[Pooler]).dense
        head, published = self.heads.get(SentenceHead) or self.heads.get(ChoiceHead), self.settings.published.head
        return cast(SentenceHead, head).dense if head is not None and published is not None and published.pooled else None

    @property
    def modules(self) -> dict[str, nn.Module]:
        """All modules, by their names in messages."""
        return {"a backbone": self.backbone, **{called(kind): head for kind, head in self.heads.items()}}


Scores = Callable[[Any, Model, Tensor, Inputs], Tensor]
"""A function from a model's last hidden states, [batch, length, width], and its inputs to a head's output."""


def _vocabulary(head: nn.Module, model: Model, inputs: Inputs) -> Tensor:
    scores: Tensor = head(model.backbone.predicting(inputs, head), model.backbone.embedding_weight)
    return scores


def _words(head: nn.Module, model: Model, hidden: Tensor, inputs: Inputs) -> Tensor:
    return _vocabulary(head, model, inputs)


def _tokens(head: nn.Module, model: Model, hidden: Tensor, inputs: Inputs) -> Tensor:
    scores: Tensor = head(hidden)
    return scores


def _pairs(head: nn.Module, model: Model, hidden: Tensor, inputs: Inputs) -> Tensor:
    scores: Tensor = head(model.heads[Pooler](hidden))
    return scores


def _sentences(head: nn.Module, model: Model, hidden: Tensor, inputs: Inputs) -> Tensor:
    scores: Tensor = head(row_state(hidden, inputs.layout.tokens, model.settings.published.reads))
    return scores


_HEADS: Mapping[type[nn.Module], tuple[str, Scores]] = {
    MaskedLMHead: ("a language-model head", _words),
    MaskDecoderHead: ("a language-model head", _words),
    TiedHead: ("a language-model head", _words),
    Pooler: ("a pooler", _tokens),
    ReplacedTokenHead: ("a head for replaced tokens", _tokens),
    ContextReplacedTokenHead: ("a head for replaced tokens", _tokens),
    SentenceHead: ("a sentence head", _sentences),
    LinearHead: ("a sentence head", _sentences),
    ChoiceHead: ("a head for choices", _sentences),
    LinearChoiceHead: ("a head for choices", _sentences),
    BiasedLinearHead: ("a sentence head", _sentences),
    PairHead: ("a head for pairs of sentences", _pairs),
    TokenLabelHead: ("a head that labels tokens", _tokens),
    SpanHead: ("a head that finds answers", _tokens),
}


_NOWHERE: Mapping[type[nn.Module], str] = {
    SpanBoundaryHead: "a head for what lies between two tokens",
    TeacherProjection: "a projection to the teacher's states",
    SourceEncoder: "an encoder in front of the model's",
    WordSoftmax: "a language-model head",
    ScalarMix: "a mix of layers",
}
"""Heads and other parts that no class of transformers has, with their names in messages."""


def called(kind: type[nn.Module]) -> str:
    """Return the name of a type of head in messages."""
    return _HEADS[kind][0] if kind in _HEADS else _NOWHERE.get(kind, f"a {kind.__name__}")


def outputs(model: Model, inputs: Inputs) -> dict[str, Tensor]:
    """Return a model's hidden states and the outputs of its heads, by their names in messages."""
    hidden = model.backbone.hidden(inputs)
    scores = {called(kind): _HEADS[kind][1](head, model, hidden, inputs) for kind, head in model.heads.items() if kind in _HEADS}
    if model.backbone.writes and not model.heads:
        scores[called(TiedHead)] = functional.linear(hidden, model.backbone.output_weight)
    return {"a backbone": hidden, **scores}


def vocabulary_scores(model: Model, inputs: Inputs) -> Tensor | None:
    """Return the scores of a model's language-model head, [batch, length, vocabulary]; None if it has none."""
    for kind in (MaskedLMHead, MaskDecoderHead, TiedHead):
        if kind in model.heads:
            return _vocabulary(model.heads[kind], model, inputs)
    if model.backbone.writes and not model.heads:
        return functional.linear(model.backbone.hidden(inputs), model.backbone.output_weight)
    return None
