"""BART in Hugging Face's names."""

from __future__ import annotations

from typing import Any

from plmtrain.interop.family import THEIR_ACTIVATIONS, Config, Family, Names, one, pair, unlike
from plmtrain.interop.sentence_heads import sentence_head
from plmtrain.interop.span_heads import answer_head
from plmtrain.nn.task_heads import SentenceHead, SpanHead
from plmtrain.settings.models.encoder_decoder import EncoderDecoderSettings

_OFFSET, _NORM_EPS = 2, 1e-5  # constants in transformers' code


def _shape(config: Config) -> dict[str, Any]:
    layers, heads = config.whole("encoder_layers", 12), config.whole("encoder_attention_heads", 16)
    feed_forward = config.whole("encoder_ffn_dim", 4096)
    for key, value, default in (
        ("decoder_attention_heads", heads, 16),
        ("decoder_ffn_dim", feed_forward, 4096),
    ):
        if config.whole(key, default) != value:
            raise config.wrong(key, config.whole(key, default), f"{value}, as in the encoder")
    config.demand("scale_embedding", False)
    decoder_layers = config.whole("decoder_layers", 12)
    return {
        "layers": layers,
        "decoder_layers": None if decoder_layers == layers else decoder_layers,
        "width": config.whole("d_model", 1024),
        "heads": heads,
        "feed_forward": feed_forward,
        "positions": config.whole("max_position_embeddings", 1024),
        "position_offset": _OFFSET,
        "activation": config.activation("activation_function", "gelu"),
        "norm_eps": _NORM_EPS,
        "dropout": config.number("dropout", 0.1),
        "attention_dropout": config.number("attention_dropout", 0.0),
        "initial_std": config.number("init_std", 0.02),
    }


def _config(settings: EncoderDecoderSettings) -> dict[str, Any]:
    sides = {
        f"{side}_{key}": value
        for side, layers in (("encoder", settings.layers), ("decoder", settings.written_layers))
        for key, value in (("layers", layers), ("attention_heads", settings.heads), ("ffn_dim", settings.feed_forward))
    }
    return {
        "is_encoder_decoder": True,
        "d_model": settings.width,
        **sides,
        "max_position_embeddings": settings.positions,
        "activation_function": THEIR_ACTIVATIONS[settings.activation],
        "scale_embedding": False,
        "dropout": settings.dropout,
        "attention_dropout": settings.attention_dropout,
        "activation_dropout": 0.0,
        "init_std": settings.initial_std,
    }


def _backbone(settings: EncoderDecoderSettings) -> Names:
    names = one("token.weight", "shared.weight")
    for side, layers in (("encoder", settings.layers), ("decoder", settings.written_layers)):
        names |= one(f"{side}.embeddings.position.weight", f"{side}.embed_positions.weight")
        names |= pair(f"{side}.embeddings.norm", f"{side}.layernorm_embedding")
        for layer in range(layers):
            place = f"{side}.layers.{layer}"
            own, cross = f"{place}.self_attn", f"{place}.encoder_attn"
            names |= pair(f"{place}.attention.query_key_value", *(f"{own}.{part}_proj" for part in "qkv"))
            names |= pair(f"{place}.attention.output", f"{own}.out_proj")
            names |= pair(f"{place}.attention_norm", f"{own}_layer_norm")
            if side == "decoder":
                names |= pair(f"{place}.cross_attention.query", f"{cross}.q_proj")
                names |= pair(f"{place}.cross_attention.key_value", f"{cross}.k_proj", f"{cross}.v_proj")
                names |= pair(f"{place}.cross_attention.output", f"{cross}.out_proj")
                names |= pair(f"{place}.cross_attention_norm", f"{cross}_layer_norm")
            names |= pair(f"{place}.feed_forward_in", f"{place}.fc1")
            names |= pair(f"{place}.feed_forward_out", f"{place}.fc2")
            names |= pair(f"{place}.feed_forward_norm", f"{place}.final_layer_norm")
    return names


FAMILY = Family(
    settings=EncoderDecoderSettings,
    prefix="model.",
    shape=_shape,
    config=_config,
    unlike=lambda settings: unlike(settings, {"position_offset": _OFFSET, "norm_eps": _NORM_EPS, "languages": ()}),
    backbone=_backbone,
    heads={
        SentenceHead: sentence_head("classification_head.dense", "classification_head.out_proj", "classifier_dropout"),
        SpanHead: answer_head(),
    },
    bare="BartModel",
    classes=(
        ("BartForSequenceClassification", frozenset({SentenceHead})),
        ("BartForQuestionAnswering", frozenset({SpanHead})),
        # The logits only need the token table, so every backbone has this class.
        ("BartForConditionalGeneration", frozenset()),
    ),
    repeats={
        "lm_head.weight": "model.shared.weight",
        "model.encoder.embed_tokens.weight": "model.shared.weight",
        "model.decoder.embed_tokens.weight": "model.shared.weight",
    },
    zeros="final_logits_bias",
    generation=True,
)
