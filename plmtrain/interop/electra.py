"""ELECTRA's generator in Hugging Face's names (ElectraForMaskedLM)."""

from __future__ import annotations

from typing import Any

from plmtrain.interop import bert
from plmtrain.interop.family import Config, Family, Names, pair, unlike
from plmtrain.settings.models.encoder import EncoderSettings


def _shape(config: Config) -> dict[str, Any]:
    shape = bert.shape(config)
    # Their defaults are ELECTRA-small's.
    small = {
        "width": config.whole("hidden_size", 256),
        "heads": config.whole("num_attention_heads", 4),
        "feed_forward": config.whole("intermediate_size", 1024),
    }
    return shape | small | {"embedding_width": config.whole("embedding_size", 128)}


def _config(settings: EncoderSettings) -> dict[str, Any]:
    return bert.config(settings) | {"embedding_size": settings.embedding_width or settings.width}


def backbone(settings: EncoderSettings) -> Names:
    """BERT's, and a projection where the widths differ."""
    names = bert.backbone(settings)
    if settings.embedding_width not in (None, settings.width):
        names |= pair("embeddings.projection", "embeddings_project")
    return names


def _unlike(settings: EncoderSettings) -> list[str]:
    # Their head always has the GELU with the error function, so a model with another would not compute the same.
    demands = {"shared_layers": False, "always_project": False, "position_offset": 0, "activation": "gelu"}
    return unlike(settings, demands) + ([] if settings.segments else ["segments=1 or more (is 0)"])


FAMILY = Family(
    architecture="ElectraForMaskedLM",
    bare_architecture="ElectraModel",
    prefix="electra.",
    shape=_shape,
    config=_config,
    unlike=_unlike,
    backbone=backbone,
    head={
        **pair("dense", "generator_predictions.dense"),
        **pair("norm", "generator_predictions.LayerNorm"),
        "bias": ("generator_lm_head.bias",),
    },
    tied={"generator_lm_head.weight": "embeddings.token.weight"},
    head_activation="gelu",
)
