"""T5 in Hugging Face's names: the first version, and 1.1."""

from __future__ import annotations

from typing import Any

from plmtrain.interop.family import ACTIVATIONS, THEIR_ACTIVATIONS, Config, Family, Names, Source, one
from plmtrain.settings.models.relative_encoder_decoder import RelativeEncoderDecoderSettings

_GATED = "gated-"


def _shape(config: Config) -> dict[str, Any]:
    layers, dropout = config.whole("num_layers", 6), config.number("dropout_rate", 0.1)
    decoder_layers = layers if config.values.get("num_decoder_layers") is None else config.whole("num_decoder_layers", layers)
    activation, gated = _feed_forward(config)
    config.demand("tie_word_embeddings", True, False)
    # transformers 5 ties all models, and has this key to tell which ones it must scale.
    config.demand("scale_decoder_outputs", config.values.get("tie_word_embeddings", True), True, False)
    return {
        "layers": layers,
        "decoder_layers": decoder_layers if decoder_layers != layers else None,
        "width": config.whole("d_model", 512),
        "heads": config.whole("num_heads", 8),
        "head_width": config.whole("d_kv", 64),
        "feed_forward": config.whole("d_ff", 2048),
        "positions": config.whole("n_positions", 512),
        "relative_buckets": config.whole("relative_attention_num_buckets", 32),
        "relative_max_distance": config.whole("relative_attention_max_distance", 128),
        "activation": activation,
        "gated": gated,
        "tied_output": config.values.get("scale_decoder_outputs", config.values.get("tie_word_embeddings", True)),
        "norm_eps": config.number("layer_norm_epsilon", 1e-6),
        "dropout": dropout,
        "attention_dropout": dropout,
        "initial_factor": config.number("initializer_factor", 1.0),
    }


def _feed_forward(config: Config) -> tuple[str, bool]:
    """Return the activation of the inner layer, and whether the layer is gated."""
    given = config.values.get("feed_forward_proj", "relu")
    gated = isinstance(given, str) and given.startswith(_GATED)
    name = given.removeprefix(_GATED) if isinstance(given, str) else ""
    if gated and name == "gelu":
        return "gelu_tanh", True  # their class takes the approximation, as the authors' code does
    if name not in ACTIVATIONS:
        raise config.wrong("feed_forward_proj", given, "relu or gated-gelu")
    return ACTIVATIONS[name], gated


def _config(settings: RelativeEncoderDecoderSettings) -> dict[str, Any]:
    activation = "gelu" if settings.gated and settings.activation == "gelu_tanh" else THEIR_ACTIVATIONS[settings.activation]
    return {
        "is_encoder_decoder": True,
        "num_layers": settings.layers,
        "num_decoder_layers": settings.decoder_blocks,
        "d_model": settings.width,
        "num_heads": settings.heads,
        "d_kv": settings.head_width,
        "d_ff": settings.feed_forward,
        "n_positions": settings.positions,
        "relative_attention_num_buckets": settings.relative_buckets,
        "relative_attention_max_distance": settings.relative_max_distance,
        "feed_forward_proj": f"{_GATED if settings.gated else ''}{activation}",
        "tie_word_embeddings": settings.tied_output,
        "layer_norm_epsilon": settings.norm_eps,
        "dropout_rate": settings.dropout,
        "initializer_factor": settings.initial_factor,
    }


def _unlike(settings: RelativeEncoderDecoderSettings) -> list[str]:
    if settings.gated and settings.activation == "gelu":
        return ["activation=gelu_tanh (is gelu)"]
    return []


def _joined(ours: str, *theirs: str) -> Names:
    """Return the names of a layer without a bias, which joins several of theirs."""
    return {f"{ours}.weight": Source(tuple(f"{name}.weight" for name in theirs))}


def _backbone(settings: RelativeEncoderDecoderSettings) -> Names:
    names = one("token.weight", "shared.weight")
    if not settings.tied_output:
        names |= one("output.weight", "lm_head.weight")
    for side, layers in (("encoder", settings.layers), ("decoder", settings.decoder_blocks)):
        table = f"{side}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
        names |= one(f"{side}.bias.weight", table) | _joined(f"{side}.norm", f"{side}.final_layer_norm")
        for layer in range(layers):
            ours, theirs = f"{side}.layers.{layer}", f"{side}.block.{layer}.layer"
            own, cross, last = f"{theirs}.0.SelfAttention", f"{theirs}.1.EncDecAttention", 2 if side == "decoder" else 1
            fed = f"{theirs}.{last}.DenseReluDense"
            names |= _joined(f"{ours}.attention.query_key_value", *(f"{own}.{part}" for part in "qkv"))
            names |= _joined(f"{ours}.attention.output", f"{own}.o")
            names |= _joined(f"{ours}.attention_norm", f"{theirs}.0.layer_norm")
            if side == "decoder":
                names |= _joined(f"{ours}.cross_attention.query", f"{cross}.q")
                names |= _joined(f"{ours}.cross_attention.key_value", f"{cross}.k", f"{cross}.v")
                names |= _joined(f"{ours}.cross_attention.output", f"{cross}.o")
                names |= _joined(f"{ours}.cross_attention_norm", f"{theirs}.1.layer_norm")
            names |= _joined(f"{ours}.feed_forward_in", *([f"{fed}.wi_0", f"{fed}.wi_1"] if settings.gated else [f"{fed}.wi"]))
            names |= _joined(f"{ours}.feed_forward_out", f"{fed}.wo")
            names |= _joined(f"{ours}.feed_forward_norm", f"{theirs}.{last}.layer_norm")
    return names


FAMILY = Family(
    settings=RelativeEncoderDecoderSettings,
    prefix="",
    shape=_shape,
    config=_config,
    unlike=_unlike,
    backbone=_backbone,
    heads={},
    bare="T5Model",
    classes=(("T5ForConditionalGeneration", frozenset()),),
    repeats={
        "lm_head.weight": "shared.weight",
        "encoder.embed_tokens.weight": "shared.weight",
        "decoder.embed_tokens.weight": "shared.weight",
    },
    # Old files have a table that no code of theirs has ever read.
    buffers=frozenset({"decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"}),
    unties=True,
    generation=True,
    aliases={
        "num_hidden_layers": "num_layers",
        "hidden_size": "d_model",
        "num_attention_heads": "num_heads",
        "head_dim": "d_kv",
    },
)
