"""BERT in Hugging Face's names."""

from __future__ import annotations

from typing import Any

from plmtrain.interop.family import THEIR_ACTIVATIONS, Config, Family, Head, Names, one, pair, unlike
from plmtrain.interop.sentence_heads import multiple_choice_head, sentence_head
from plmtrain.interop.span_heads import answer_head
from plmtrain.interop.token_heads import token_head
from plmtrain.nn.heads import MaskedLMHead, PairHead, Pooler
from plmtrain.nn.task_heads import ChoiceHead, SentenceHead, SpanHead, TokenLabelHead
from plmtrain.settings.models.encoder import EncoderSettings

DEMANDS = {"languages": (), "head_layer": True}
"""Settings that only XLM's family may change."""

BUFFERS = frozenset({"embeddings.position_ids", "embeddings.token_type_ids"})
"""Buffers that old versions of transformers saved with the embeddings of every encoder."""


def shape(config: Config) -> dict[str, Any]:
    """Read the shape from BERT's keys; RoBERTa and ELECTRA have them too."""
    config.demand("position_embedding_type", "absolute")
    config.demand("is_decoder", False)
    config.demand("add_cross_attention", False)
    return {
        "layers": config.whole("num_hidden_layers", 12),
        "width": config.whole("hidden_size", 768),
        "heads": config.whole("num_attention_heads", 12),
        "feed_forward": config.whole("intermediate_size", 3072),
        "positions": config.whole("max_position_embeddings", 512),
        "segments": config.whole("type_vocab_size", 2),
        "activation": config.activation("hidden_act", "gelu"),
        "norm_eps": config.number("layer_norm_eps", 1e-12),
        "dropout": config.number("hidden_dropout_prob", 0.1),
        "attention_dropout": config.number("attention_probs_dropout_prob", 0.1),
        "initial_std": config.number("initializer_range", 0.02),
    }


def config(settings: EncoderSettings) -> dict[str, Any]:
    """Write the keys that ``shape`` reads."""
    return {
        "num_hidden_layers": settings.layers,
        "hidden_size": settings.width,
        "num_attention_heads": settings.heads,
        "intermediate_size": settings.feed_forward,
        "max_position_embeddings": settings.positions + settings.position_offset,
        "type_vocab_size": settings.segments,
        "hidden_act": THEIR_ACTIVATIONS[settings.activation],
        "layer_norm_eps": settings.norm_eps,
        "hidden_dropout_prob": settings.dropout,
        "attention_probs_dropout_prob": settings.attention_dropout,
        "initializer_range": settings.initial_std,
    }


def embeddings() -> Names:
    """Return the names of the three tables and their norm; ALBERT and ELECTRA have them too."""
    return {
        **one("embeddings.token.weight", "embeddings.word_embeddings.weight"),
        **one("embeddings.position.weight", "embeddings.position_embeddings.weight"),
        **one("embeddings.segment.weight", "embeddings.token_type_embeddings.weight"),
        **pair("embeddings.norm", "embeddings.LayerNorm"),
    }


def backbone(settings: EncoderSettings) -> Names:
    """Return the names of embeddings and layers; RoBERTa has them too."""
    names = embeddings()
    for layer in range(settings.layers):
        ours, theirs = f"layers.{layer}", f"encoder.layer.{layer}"
        attention = f"{theirs}.attention.self"
        names |= pair(f"{ours}.attention.query_key_value", *(f"{attention}.{part}" for part in ("query", "key", "value")))
        names |= pair(f"{ours}.attention.output", f"{theirs}.attention.output.dense")
        names |= pair(f"{ours}.attention_norm", f"{theirs}.attention.output.LayerNorm")
        names |= pair(f"{ours}.feed_forward_in", f"{theirs}.intermediate.dense")
        names |= pair(f"{ours}.feed_forward_out", f"{theirs}.output.dense")
        names |= pair(f"{ours}.feed_forward_norm", f"{theirs}.output.LayerNorm")
    return names


def _unlike(settings: EncoderSettings) -> list[str]:
    differences = unlike(settings, {**DEMANDS, "shared_layers": False, "always_project": False, "position_offset": 0})
    if settings.embedding_width not in (None, settings.width):
        differences.append(f"embedding_width=null (is {settings.embedding_width})")
    if not settings.segments:
        differences.append("segments=1 or more (is 0)")
    return differences


def masked_lm_head(settings: EncoderSettings, config: Config, activation: str | None = None) -> MaskedLMHead:
    """Build the language-model head of an encoder; in some families' code it has a fixed activation whatever the model's is."""
    return MaskedLMHead(
        settings.width,
        settings.embedding_width or settings.width,
        config.whole("vocab_size", 0),
        activation or settings.activation,
        settings.norm_eps,
    )


def pooler(settings: EncoderSettings, config: Config) -> Pooler:
    """Build the pooler of every family that has one."""
    return Pooler(settings.width)


def pair_head(settings: EncoderSettings, config: Config) -> PairHead:
    """Build the head on the pooler that classes for pretraining have."""
    return PairHead(settings.width)


FAMILY = Family(
    settings=EncoderSettings,
    prefix="bert.",
    shape=shape,
    config=config,
    unlike=_unlike,
    backbone=backbone,
    heads={
        MaskedLMHead: Head(
            make=masked_lm_head,
            names={
                **pair("dense", "cls.predictions.transform.dense"),
                **pair("norm", "cls.predictions.transform.LayerNorm"),
                **one("bias", "cls.predictions.bias"),
            },
        ),
        Pooler: Head(make=pooler, names=pair("dense", "bert.pooler.dense")),
        PairHead: Head(make=pair_head, names=pair("scores", "cls.seq_relationship")),
        SentenceHead: sentence_head("bert.pooler.dense", "classifier", "classifier_dropout"),
        ChoiceHead: multiple_choice_head("bert.pooler.dense", "classifier", "classifier_dropout"),
        TokenLabelHead: token_head("classifier_dropout"),
        SpanHead: answer_head(),
    },
    bare="BertModel",
    classes=(
        ("BertForSequenceClassification", frozenset({SentenceHead})),
        ("BertForMultipleChoice", frozenset({ChoiceHead})),
        ("BertForTokenClassification", frozenset({TokenLabelHead})),
        ("BertForQuestionAnswering", frozenset({SpanHead})),
        ("BertForPreTraining", frozenset({MaskedLMHead, Pooler, PairHead})),
        ("BertForMaskedLM", frozenset({MaskedLMHead})),
        ("BertModel", frozenset({Pooler})),
        ("BertModel", frozenset()),
    ),
    repeats={
        "cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight",
        "cls.predictions.decoder.bias": "cls.predictions.bias",
    },
    buffers=BUFFERS,
)
