"""ALBERT in Hugging Face's names."""

from __future__ import annotations

from typing import Any

from plmtrain.interop.families import bert
from plmtrain.interop.family import Config, Family, Head, Names, one, pair, unlike
from plmtrain.interop.sentence_heads import multiple_choice_head, sentence_head
from plmtrain.interop.span_heads import answer_head
from plmtrain.interop.token_heads import token_head
from plmtrain.nn.heads import MaskedLMHead, PairHead, Pooler
from plmtrain.nn.task_heads import ChoiceHead, SentenceHead, SpanHead, TokenLabelHead
from plmtrain.settings.models.encoder import EncoderSettings


def _shape(config: Config) -> dict[str, Any]:
    config.demand("position_embedding_type", "absolute")
    config.demand("num_hidden_groups", 1)
    config.demand("inner_group_num", 1)
    return {
        "layers": config.whole("num_hidden_layers", 12),
        "width": config.whole("hidden_size", 4096),
        "heads": config.whole("num_attention_heads", 64),
        "feed_forward": config.whole("intermediate_size", 16384),
        "embedding_width": config.whole("embedding_size", 128),
        "positions": config.whole("max_position_embeddings", 512),
        "segments": config.whole("type_vocab_size", 2),
        "shared_layers": True,
        "always_project": True,
        "activation": config.activation("hidden_act", "gelu_new"),
        "norm_eps": config.number("layer_norm_eps", 1e-12),
        "dropout": config.number("hidden_dropout_prob", 0.0),
        "attention_dropout": config.number("attention_probs_dropout_prob", 0.0),
        "initial_std": config.number("initializer_range", 0.02),
    }


def _config(settings: EncoderSettings) -> dict[str, Any]:
    width = settings.embedding_width or settings.width
    return bert.config(settings) | {"embedding_size": width, "num_hidden_groups": 1, "inner_group_num": 1}


def _backbone(settings: EncoderSettings) -> Names:
    layer = "encoder.albert_layer_groups.0.albert_layers.0"
    attention = [f"{layer}.attention.{part}" for part in ("query", "key", "value")]
    return {
        **bert.embeddings(),
        **pair("embeddings.projection", "encoder.embedding_hidden_mapping_in"),
        **pair("layers.0.attention.query_key_value", *attention),
        **pair("layers.0.attention.output", f"{layer}.attention.dense"),
        **pair("layers.0.attention_norm", f"{layer}.attention.LayerNorm"),
        **pair("layers.0.feed_forward_in", f"{layer}.ffn"),
        **pair("layers.0.feed_forward_out", f"{layer}.ffn_output"),
        **pair("layers.0.feed_forward_norm", f"{layer}.full_layer_layer_norm"),
    }


def _unlike(settings: EncoderSettings) -> list[str]:
    demands = {**bert.DEMANDS, "shared_layers": True, "always_project": True, "position_offset": 0}
    return unlike(settings, demands) + ([] if settings.segments else ["segments=1 or more (is 0)"])


FAMILY = Family(
    settings=EncoderSettings,
    prefix="albert.",
    shape=_shape,
    config=_config,
    unlike=_unlike,
    backbone=_backbone,
    heads={
        MaskedLMHead: Head(
            make=bert.masked_lm_head,
            names={
                **pair("dense", "predictions.dense"),
                **pair("norm", "predictions.LayerNorm"),
                **one("bias", "predictions.bias"),
            },
        ),
        Pooler: Head(make=bert.pooler, names=pair("dense", "albert.pooler")),
        PairHead: Head(make=bert.pair_head, names=pair("scores", "sop_classifier.classifier")),
        SentenceHead: sentence_head("albert.pooler", "classifier", "classifier_dropout_prob"),
        ChoiceHead: multiple_choice_head("albert.pooler", "classifier", "classifier_dropout_prob"),
        TokenLabelHead: token_head("classifier_dropout_prob"),
        SpanHead: answer_head(),
    },
    bare="AlbertModel",
    classes=(
        ("AlbertForSequenceClassification", frozenset({SentenceHead})),
        ("AlbertForMultipleChoice", frozenset({ChoiceHead})),
        ("AlbertForTokenClassification", frozenset({TokenLabelHead})),
        ("AlbertForQuestionAnswering", frozenset({SpanHead})),
        ("AlbertForPreTraining", frozenset({MaskedLMHead, Pooler, PairHead})),
        ("AlbertForMaskedLM", frozenset({MaskedLMHead})),
        ("AlbertModel", frozenset({Pooler})),
        ("AlbertModel", frozenset()),
    ),
    repeats={
        "predictions.decoder.weight": "albert.embeddings.word_embeddings.weight",
        "predictions.decoder.bias": "predictions.bias",
    },
    buffers=bert.BUFFERS,
)
