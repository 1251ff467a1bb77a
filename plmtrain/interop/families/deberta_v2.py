"""DeBERTa's second and third version in Hugging Face's names: they have one class, and their heads are those of the first."""

from __future__ import annotations

from typing import Any

from plmtrain.interop.families import deberta
from plmtrain.interop.family import Config, Names, pair, unlike
from plmtrain.settings.models.disentangled import DisentangledSettings

_ACTIVATIONS = {"gelu": "gelu", "gelu_new": "gelu_tanh", "relu": "relu", "tanh": "tanh"}
"""The names of the convolution's activation in config.json, and plmtrain's names."""


def _shape(config: Config) -> dict[str, Any]:
    # transformers' defaults are those of the second version's xlarge.
    shape = deberta.shape(config, layers=24, width=1536, heads=24, feed_forward=6144)
    if shape["heads"]:
        config.demand("attention_head_size", shape["width"] // shape["heads"])
    config.demand("conv_groups", 1)
    config.demand("share_att_key", False, True)
    norms = config.values.get("norm_rel_ebd", "none")
    if norms not in ("none", "layer_norm"):
        raise config.wrong("norm_rel_ebd", norms, "none or layer_norm")
    kernel, buckets = config.whole("conv_kernel_size", 0), config.number("position_buckets", -1)
    activation = config.values.get("conv_act", "tanh") if kernel else "gelu"
    if not isinstance(activation, str) or activation not in _ACTIVATIONS:
        raise config.wrong("conv_act", activation, f"one of {', '.join(_ACTIVATIONS)}")
    return shape | {
        "relative_buckets": int(buckets) if buckets > 0 else None,
        "normed_distances": norms == "layer_norm",
        "shared_projections": config.values.get("share_att_key", False),
        "key_bias": True,
        "convolution": kernel or None,
        "convolution_activation": _ACTIVATIONS[activation],
    }


def _config(settings: DisentangledSettings) -> dict[str, Any]:
    theirs = {ours: name for name, ours in _ACTIVATIONS.items()}
    convolution = {"conv_kernel_size": settings.convolution, "conv_act": theirs[settings.convolution_activation]}
    return {
        **deberta.config_of(settings),
        "position_buckets": settings.relative_buckets or -1,
        "norm_rel_ebd": "layer_norm" if settings.normed_distances else "none",
        "share_att_key": settings.shared_projections,
        **(convolution if settings.convolution else {}),
    }


def _unlike(settings: DisentangledSettings) -> list[str]:
    return unlike(settings, {"key_bias": True})


def _backbone(settings: DisentangledSettings) -> Names:
    def attention(ours: str, theirs: str) -> Names:
        names = pair(f"{ours}.query_key_value", *(f"{theirs}.{part}_proj" for part in ("query", "key", "value")))
        if settings.content_to_position and not settings.shared_projections:
            names |= pair(f"{ours}.position_key", f"{theirs}.pos_key_proj")
        if settings.position_to_content and not settings.shared_projections:
            names |= pair(f"{ours}.position_query", f"{theirs}.pos_query_proj")
        return names

    names = deberta.backbone(settings, attention)
    if settings.position_terms and settings.normed_distances:
        names |= pair("relative_norm", "encoder.LayerNorm")
    if settings.convolution:
        names |= pair("convolution.convolution", "encoder.conv.conv") | pair("convolution.norm", "encoder.conv.LayerNorm")
    return names


FAMILY = deberta.family("DebertaV2", shape=_shape, config=_config, unlike=_unlike, backbone=_backbone)
