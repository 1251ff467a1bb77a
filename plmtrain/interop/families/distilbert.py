"""DistilBERT in Hugging Face's names."""

from __future__ import annotations

from typing import Any

from plmtrain.interop.families import bert
from plmtrain.interop.family import THEIR_ACTIVATIONS, Config, Family, Head, Names, one, pair, unlike
from plmtrain.interop.sentence_heads import multiple_choice_head, sentence_head
from plmtrain.interop.span_heads import answer_head
from plmtrain.interop.token_heads import token_head
from plmtrain.nn.heads import MaskedLMHead
from plmtrain.nn.task_heads import ChoiceHead, SentenceHead, SpanHead, TokenLabelHead
from plmtrain.settings.models.encoder import EncoderSettings

_NORM_EPS = 1e-12  # a constant in transformers' code


def _shape(config: Config) -> dict[str, Any]:
    return {
        "layers": config.whole("n_layers", 6),
        "width": config.whole("dim", 768),
        "heads": config.whole("n_heads", 12),
        "feed_forward": config.whole("hidden_dim", 3072),
        "positions": config.whole("max_position_embeddings", 512),
        "segments": 0,
        "activation": config.activation("activation", "gelu"),
        "norm_eps": _NORM_EPS,
        "dropout": config.number("dropout", 0.1),
        "attention_dropout": config.number("attention_dropout", 0.1),
        "initial_std": config.number("initializer_range", 0.02),
    }


def _config(settings: EncoderSettings) -> dict[str, Any]:
    return {
        "n_layers": settings.layers,
        "dim": settings.width,
        "n_heads": settings.heads,
        "hidden_dim": settings.feed_forward,
        "max_position_embeddings": settings.positions,
        # transformers' sinusoids would overwrite the position table of the folder.
        "sinusoidal_pos_embds": False,
        "activation": THEIR_ACTIVATIONS[settings.activation],
        "dropout": settings.dropout,
        "attention_dropout": settings.attention_dropout,
        "initializer_range": settings.initial_std,
    }


def _backbone(settings: EncoderSettings) -> Names:
    names: Names = {
        **one("embeddings.token.weight", "embeddings.word_embeddings.weight"),
        **one("embeddings.position.weight", "embeddings.position_embeddings.weight"),
        **pair("embeddings.norm", "embeddings.LayerNorm"),
    }
    for layer in range(settings.layers):
        ours, theirs = f"layers.{layer}", f"transformer.layer.{layer}"
        attention = f"{theirs}.attention"
        names |= pair(f"{ours}.attention.query_key_value", *(f"{attention}.{part}_lin" for part in "qkv"))
        names |= pair(f"{ours}.attention.output", f"{attention}.out_lin")
        names |= pair(f"{ours}.attention_norm", f"{theirs}.sa_layer_norm")
        names |= pair(f"{ours}.feed_forward_in", f"{theirs}.ffn.lin1")
        names |= pair(f"{ours}.feed_forward_out", f"{theirs}.ffn.lin2")
        names |= pair(f"{ours}.feed_forward_norm", f"{theirs}.output_layer_norm")
    return names


def _unlike(settings: EncoderSettings) -> list[str]:
    demands = {
        **bert.DEMANDS,
        "shared_layers": False,
        "always_project": False,
        "position_offset": 0,
        "segments": 0,
        "norm_eps": _NORM_EPS,
    }
    differences = unlike(settings, demands)
    if settings.embedding_width not in (None, settings.width):
        differences.append(f"embedding_width=null (is {settings.embedding_width})")
    if settings.activation == "gelu_tanh":
        differences.append("activation=gelu or relu (is gelu_tanh)")
    return differences


FAMILY = Family(
    settings=EncoderSettings,
    prefix="distilbert.",
    shape=_shape,
    config=_config,
    unlike=_unlike,
    backbone=_backbone,
    heads={
        MaskedLMHead: Head(
            make=bert.masked_lm_head,
            names={
                **pair("dense", "vocab_transform"),
                **pair("norm", "vocab_layer_norm"),
                **one("bias", "vocab_projector.bias"),
            },
        ),
        SentenceHead: sentence_head("pre_classifier", "classifier", "seq_classif_dropout"),
        ChoiceHead: multiple_choice_head("pre_classifier", "classifier", "seq_classif_dropout"),
        TokenLabelHead: token_head(None),
        SpanHead: answer_head("qa_dropout"),
    },
    bare="DistilBertModel",
    classes=(
        ("DistilBertForSequenceClassification", frozenset({SentenceHead})),
        ("DistilBertForMultipleChoice", frozenset({ChoiceHead})),
        ("DistilBertForTokenClassification", frozenset({TokenLabelHead})),
        ("DistilBertForQuestionAnswering", frozenset({SpanHead})),
        ("DistilBertForMaskedLM", frozenset({MaskedLMHead})),
        ("DistilBertModel", frozenset()),
    ),
    repeats={"vocab_projector.weight": "distilbert.embeddings.word_embeddings.weight"},
    buffers=bert.BUFFERS,
)
