"""GPT-1 in Hugging Face's names, where it is ``openai-gpt``."""

from __future__ import annotations

from typing import Any

from plmtrain.interop.family import Config, Family, Names, conv1d, one, pair, unlike
from plmtrain.interop.sentence_heads import linear_head
from plmtrain.nn.task_heads import LinearHead
from plmtrain.settings.models.decoder import DecoderSettings

_ACTIVATIONS = {"gelu": "gelu_tanh", "relu": "relu"}
"""The names of activations in its config.json, of which "gelu" means the tanh form, and plmtrain's names."""

_INNER = 4
"""The inner layer of a block is this many times as wide as a hidden state; no key says otherwise."""


def _shape(config: Config) -> dict[str, Any]:
    width = config.whole("n_embd", 768)
    activation = config.values.get("afn", "gelu")
    if not isinstance(activation, str) or activation not in _ACTIVATIONS:
        raise config.wrong("afn", activation, f"one of {', '.join(sorted(_ACTIVATIONS))}")
    dropout = config.number("resid_pdrop", 0.1)
    config.demand("embd_pdrop", dropout)
    return {
        "layers": config.whole("n_layer", 12),
        "width": width,
        "heads": config.whole("n_head", 12),
        "feed_forward": _INNER * width,
        "positions": config.whole("n_positions", 512),
        "activation": _ACTIVATIONS[activation],
        "norm_eps": config.number("layer_norm_epsilon", 1e-5),
        "norm": "post",
        "scaled_residuals": False,
        "dropout": dropout,
        "attention_dropout": config.number("attn_pdrop", 0.1),
        "initial_std": config.number("initializer_range", 0.02),
    }


def _config(settings: DecoderSettings) -> dict[str, Any]:
    theirs = {ours: name for name, ours in _ACTIVATIONS.items()}
    return {
        "n_embd": settings.width,
        "n_layer": settings.layers,
        "n_head": settings.heads,
        "n_positions": settings.positions,
        "afn": theirs[settings.activation],
        "layer_norm_epsilon": settings.norm_eps,
        "embd_pdrop": settings.dropout,
        "resid_pdrop": settings.dropout,
        "attn_pdrop": settings.attention_dropout,
        "initializer_range": settings.initial_std,
    }


def _unlike(settings: DecoderSettings) -> list[str]:
    demands: dict[str, Any] = {"norm": "post", "window": None, "feed_forward": _INNER * settings.width}
    if settings.activation not in _ACTIVATIONS.values():
        demands["activation"] = "gelu_tanh"
    return unlike(settings, demands)


def _backbone(settings: DecoderSettings) -> Names:
    return one("token.weight", "tokens_embed.weight") | one("position.weight", "positions_embed.weight") | blocks(settings)


def blocks(settings: DecoderSettings) -> Names:
    """Return the names of the blocks' tensors, which GPT-2 has, too."""
    names: Names = {}
    for layer in range(settings.layers):
        ours, theirs = f"layers.{layer}", f"h.{layer}"
        names |= conv1d(f"{ours}.attention.query_key_value", f"{theirs}.attn.c_attn")
        names |= conv1d(f"{ours}.attention.output", f"{theirs}.attn.c_proj")
        names |= pair(f"{ours}.attention_norm", f"{theirs}.ln_1")
        names |= conv1d(f"{ours}.feed_forward_in", f"{theirs}.mlp.c_fc")
        names |= conv1d(f"{ours}.feed_forward_out", f"{theirs}.mlp.c_proj")
        names |= pair(f"{ours}.feed_forward_norm", f"{theirs}.ln_2")
    return names


BUFFERS = frozenset({"h.*.attn.bias", "h.*.attn.masked_bias", "position_ids"})
"""The causal mask and the positions, which older versions of transformers saved."""

FAMILY = Family(
    settings=DecoderSettings,
    prefix="transformer.",
    shape=_shape,
    config=_config,
    unlike=_unlike,
    backbone=_backbone,
    heads={LinearHead: linear_head("score", None)},
    bare="OpenAIGPTModel",
    # The logits only need the token table, so every backbone has this class.
    classes=(("OpenAIGPTForSequenceClassification", frozenset({LinearHead})), ("OpenAIGPTLMHeadModel", frozenset())),
    repeats={"lm_head.weight": "transformer.tokens_embed.weight"},
    buffers=BUFFERS,
    aliases={
        "num_hidden_layers": "n_layer",
        "hidden_size": "n_embd",
        "num_attention_heads": "n_head",
        "max_position_embeddings": "n_positions",
    },
)
