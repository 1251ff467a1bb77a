"""XLNet in Hugging Face's names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from plmtrain.interop.family import THEIR_ACTIVATIONS, Config, Family, Head, Names, Source, one, pair
from plmtrain.interop.sentence_heads import multiple_choice_head, sentence_head
from plmtrain.interop.span_heads import answer_head
from plmtrain.interop.token_heads import token_head
from plmtrain.nn.heads import TiedHead
from plmtrain.nn.task_heads import ChoiceHead, SentenceHead, SpanHead, TokenLabelHead
from plmtrain.settings.models.two_stream import TwoStreamSettings

_LONGEST = 2**16
"""The longest sequence: positions are relative, so transformers has no limit, but the setting needs a number."""


@dataclass(frozen=True)
class _ByHead(Source):
    """A linear layer's weight with an axis for its heads: [into, heads, head width], where plmtrain has [out, in].

    Args:
        heads: the number of heads.
        leaving: whether the layer goes from the heads to the hidden state.
    """

    heads: int
    leaving: bool

    def split(self, tensor: Tensor) -> Sequence[Tensor]:
        flat = tensor if self.leaving else tensor.T
        return [flat.reshape(len(flat), self.heads, -1)]

    def join(self, tensors: Sequence[Tensor]) -> Tensor:
        flat = tensors[0].flatten(1)
        return flat if self.leaving else flat.T.contiguous()


def _shape(config: Config) -> dict[str, Any]:
    config.demand("untie_r", True)
    config.demand("attn_type", "bi")
    config.demand("bi_data", False)
    config.demand("same_length", False)
    config.demand("clamp_len", -1)
    config.demand("summary_type", "last")
    config.demand("summary_use_proj", True)
    config.demand("summary_activation", "tanh")
    width, heads = config.whole("d_model", 1024), config.whole("n_head", 16)
    if heads:
        config.demand("d_head", width // heads)
    return {
        "layers": config.whole("n_layer", 24),
        "width": width,
        "heads": heads,
        "feed_forward": config.whole("d_inner", 4096),
        "positions": _LONGEST,
        "activation": config.activation("ff_activation", "gelu"),
        "norm_eps": config.number("layer_norm_eps", 1e-12),
        "dropout": config.number("dropout", 0.1),
        "attention_dropout": config.number("dropout", 0.1),
        "initial_std": config.number("initializer_range", 0.02),
    }


def _config(settings: TwoStreamSettings) -> dict[str, Any]:
    return {
        "n_layer": settings.layers,
        "d_model": settings.width,
        "n_head": settings.heads,
        "d_head": settings.width // settings.heads,
        "d_inner": settings.feed_forward,
        "ff_activation": THEIR_ACTIVATIONS[settings.activation],
        "layer_norm_eps": settings.norm_eps,
        "dropout": settings.dropout,
        "initializer_range": settings.initial_std,
        "attn_type": "bi",
    }


def _backbone(settings: TwoStreamSettings) -> Names:
    names = one("token.weight", "word_embedding.weight") | one("mask", "mask_emb")
    for layer in range(settings.layers):
        ours, theirs = f"layers.{layer}", f"layer.{layer}"
        attention = f"{theirs}.rel_attn"
        for name, letter in {"query": "q", "key": "k", "value": "v", "distance": "r", "output": "o"}.items():
            names[f"{ours}.attention.{name}.weight"] = _ByHead((f"{attention}.{letter}",), settings.heads, name == "output")
        for name, letter in {"content": "w", "distance": "r", "segment": "s"}.items():
            names |= one(f"{ours}.attention.{name}_bias", f"{attention}.r_{letter}_bias")
        names |= one(f"{ours}.attention.segments", f"{attention}.seg_embed")
        names |= pair(f"{ours}.attention_norm", f"{attention}.layer_norm")
        names |= pair(f"{ours}.feed_forward_in", f"{theirs}.ff.layer_1")
        names |= pair(f"{ours}.feed_forward_out", f"{theirs}.ff.layer_2")
        names |= pair(f"{ours}.feed_forward_norm", f"{theirs}.ff.layer_norm")
    return names


def _head(settings: TwoStreamSettings, config: Config) -> TiedHead:
    return TiedHead(config.whole("vocab_size", 0))


FAMILY = Family(
    settings=TwoStreamSettings,
    prefix="transformer.",
    shape=_shape,
    config=_config,
    unlike=lambda settings: [],
    backbone=_backbone,
    heads={
        TiedHead: Head(make=_head, names=one("bias", "lm_loss.bias")),
        SentenceHead: sentence_head("sequence_summary.summary", "logits_proj", "summary_last_dropout"),
        ChoiceHead: multiple_choice_head("sequence_summary.summary", "logits_proj", "summary_last_dropout"),
        TokenLabelHead: token_head(None),
        SpanHead: answer_head(),
    },
    bare="XLNetModel",
    classes=(
        ("XLNetForSequenceClassification", frozenset({SentenceHead})),
        ("XLNetForMultipleChoice", frozenset({ChoiceHead})),
        ("XLNetForTokenClassification", frozenset({TokenLabelHead})),
        ("XLNetForQuestionAnsweringSimple", frozenset({SpanHead})),
        ("XLNetLMHeadModel", frozenset({TiedHead})),
        ("XLNetModel", frozenset()),
    ),
    repeats={"lm_loss.weight": "transformer.word_embedding.weight"},
    tolerance=1e-4,
)
