"""GPT-2 in Hugging Face's names. GPT-3 with dense attention is a GPT-2 of another shape."""

from __future__ import annotations

from typing import Any

from plmtrain.interop.families import gpt1
from plmtrain.interop.family import THEIR_ACTIVATIONS, Config, Family, Names, one, pair, unlike
from plmtrain.interop.sentence_heads import linear_head
from plmtrain.interop.token_heads import token_head
from plmtrain.nn.task_heads import LinearHead, TokenLabelHead
from plmtrain.settings.models.decoder import DecoderSettings


def _shape(config: Config) -> dict[str, Any]:
    width = config.whole("n_embd", 768)
    feed_forward = config.values.get("n_inner")
    config.demand("scale_attn_weights", True)
    for key in ("scale_attn_by_inverse_layer_idx", "reorder_and_upcast_attn", "add_cross_attention"):
        config.demand(key, False)
    config.demand("tie_word_embeddings", True)
    dropout = config.number("resid_pdrop", 0.1)
    config.demand("embd_pdrop", dropout)
    return {
        "layers": config.whole("n_layer", 12),
        "width": width,
        "heads": config.whole("n_head", 12),
        "feed_forward": 4 * width if feed_forward is None else config.whole("n_inner", 4 * width),
        "positions": config.whole("n_positions", 1024),
        "activation": config.activation("activation_function", "gelu_new"),
        "norm_eps": config.number("layer_norm_epsilon", 1e-5),
        "dropout": dropout,
        "attention_dropout": config.number("attn_pdrop", 0.1),
        "initial_std": config.number("initializer_range", 0.02),
    }


def _config(settings: DecoderSettings) -> dict[str, Any]:
    return {
        "n_embd": settings.width,
        "n_layer": settings.layers,
        "n_head": settings.heads,
        "n_inner": settings.feed_forward,
        "n_positions": settings.positions,
        "activation_function": THEIR_ACTIVATIONS[settings.activation],
        "layer_norm_epsilon": settings.norm_eps,
        "embd_pdrop": settings.dropout,
        "resid_pdrop": settings.dropout,
        "attn_pdrop": settings.attention_dropout,
        "initializer_range": settings.initial_std,
    }


def _backbone(settings: DecoderSettings) -> Names:
    tables = one("token.weight", "wte.weight") | one("position.weight", "wpe.weight")
    return tables | gpt1.blocks(settings) | pair("norm", "ln_f")


FAMILY = Family(
    settings=DecoderSettings,
    prefix="transformer.",
    shape=_shape,
    config=_config,
    unlike=lambda settings: unlike(settings, {"norm": "pre", "window": None}),
    backbone=_backbone,
    heads={LinearHead: linear_head("score", None), TokenLabelHead: token_head("classifier_dropout")},
    bare="GPT2Model",
    # The logits only need the token table, so every backbone has this class.
    classes=(
        ("GPT2ForTokenClassification", frozenset({TokenLabelHead})),
        ("GPT2ForSequenceClassification", frozenset({LinearHead})),
        ("GPT2LMHeadModel", frozenset()),
    ),
    repeats={"lm_head.weight": "transformer.wte.weight"},
    buffers=gpt1.BUFFERS,
    aliases={
        "num_hidden_layers": "n_layer",
        "hidden_size": "n_embd",
        "num_attention_heads": "n_head",
        "max_position_embeddings": "n_positions",
    },
)
