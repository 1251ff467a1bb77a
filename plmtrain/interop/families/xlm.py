"""XLM in Hugging Face's names."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import nn

from plmtrain.interop.family import Config, Family, Head, Names, one, pair, unlike
from plmtrain.interop.sentence_heads import linear_head
from plmtrain.interop.token_heads import token_head
from plmtrain.nn.heads import TiedHead
from plmtrain.nn.task_heads import BiasedLinearHead, TokenLabelHead
from plmtrain.settings.models.encoder import EncoderSettings


def _shape(config: Config) -> dict[str, Any]:
    config.demand("asm", False)
    causal = config.values.get("causal", False)
    if not isinstance(causal, bool):
        raise config.wrong("causal", causal, "true or false")
    config.demand("is_encoder", True)
    width = config.whole("emb_dim", 2048)
    gelu = config.values.get("gelu_activation", True)
    if not isinstance(gelu, bool):
        raise config.wrong("gelu_activation", gelu, "true or false")
    return {
        "layers": config.whole("n_layers", 12),
        "width": width,
        "heads": config.whole("n_heads", 16),
        "feed_forward": 4 * width,
        "positions": config.whole("max_position_embeddings", 512),
        "segments": 0,
        "languages": _languages(config),
        "causal": causal,
        "head_layer": False,
        "activation": "gelu" if gelu else "relu",
        "norm_eps": config.number("layer_norm_eps", 1e-12),
        "dropout": config.number("dropout", 0.1),
        "attention_dropout": config.number("attention_dropout", 0.1),
        "initial_std": config.number("init_std", 0.02),
        "initial_by_width": True,
    }


def _languages(config: Config) -> tuple[str, ...]:
    """Return the names of the languages by their numbers; generated names where the file has none."""
    count = config.whole("n_langs", 1)
    use = config.values.get("use_lang_emb", True)
    if not isinstance(use, bool):
        raise config.wrong("use_lang_emb", use, "true or false")
    if count < 2 or not use:
        return ()
    numbers = config.values.get("lang2id") or {f"language{number}": number for number in range(count)}
    if not isinstance(numbers, dict) or sorted(map(str, numbers.values())) != sorted(map(str, range(count))):
        raise config.wrong("lang2id", numbers, "a number for each of n_langs languages")
    return tuple(sorted(numbers, key=lambda language: int(numbers[language])))


def _config(settings: EncoderSettings) -> dict[str, Any]:
    return {
        "n_layers": settings.layers,
        "emb_dim": settings.width,
        "n_heads": settings.heads,
        "max_position_embeddings": settings.positions,
        **({"n_langs": len(settings.languages), **_named(settings)} if settings.languages else {"n_langs": 1}),
        "causal": settings.causal,
        # transformers' sinusoids would overwrite the position table of the folder.
        "sinusoidal_embeddings": False,
        "gelu_activation": settings.activation == "gelu",
        "layer_norm_eps": settings.norm_eps,
        "dropout": settings.dropout,
        "attention_dropout": settings.attention_dropout,
        "init_std": settings.initial_std,
        "embed_init_std": settings.width**-0.5,
    }


def _named(settings: EncoderSettings) -> dict[str, Any]:
    """Return the languages by their numbers, and the numbers by their languages."""
    numbered = list(enumerate(settings.languages))
    return {
        "lang2id": {language: number for number, language in numbered},
        "id2lang": {str(number): language for number, language in numbered},
    }


def _backbone(settings: EncoderSettings) -> Names:
    names: Names = {
        **one("embeddings.token.weight", "embeddings.weight"),
        **one("embeddings.position.weight", "position_embeddings.weight"),
        **pair("embeddings.norm", "layer_norm_emb"),
    }
    if settings.languages:
        names |= one("embeddings.segment.weight", "lang_embeddings.weight")
    for layer in range(settings.layers):
        ours, attention = f"layers.{layer}", f"attentions.{layer}"
        names |= pair(f"{ours}.attention.query_key_value", *(f"{attention}.{part}_lin" for part in "qkv"))
        names |= pair(f"{ours}.attention.output", f"{attention}.out_lin")
        names |= pair(f"{ours}.attention_norm", f"layer_norm1.{layer}")
        names |= pair(f"{ours}.feed_forward_in", f"ffns.{layer}.lin1")
        names |= pair(f"{ours}.feed_forward_out", f"ffns.{layer}.lin2")
        names |= pair(f"{ours}.feed_forward_norm", f"layer_norm2.{layer}")
    return names


def _unlike(settings: EncoderSettings) -> list[str]:
    demands = {
        "shared_layers": False,
        "always_project": False,
        "position_offset": 0,
        "segments": 0,
        "feed_forward": 4 * settings.width,  # a constant in transformers' code
        "head_layer": False,
    }
    differences = unlike(settings, demands)
    if settings.embedding_width not in (None, settings.width):
        differences.append(f"embedding_width=null (is {settings.embedding_width})")
    if settings.activation == "gelu_tanh":
        differences.append("activation=gelu or relu (is gelu_tanh)")
    return differences


def _head(settings: EncoderSettings, config: Config) -> TiedHead:
    return TiedHead(config.whole("vocab_size", 0))


_SUMMARY = {"summary_type": "first", "summary_use_proj": True, "summary_activation": None, "summary_proj_to_labels": True}
"""The form of transformers' summary of a row that is read: one layer on the first state, as in the authors' code for GLUE."""


def _sentence_head() -> Head[EncoderSettings]:
    linear = linear_head("sequence_summary.summary", "summary_first_dropout", biased=True)

    def make(settings: EncoderSettings, config: Config) -> nn.Module:
        for key, value in _SUMMARY.items():
            config.demand(key, value)
        config.demand("summary_last_dropout", 0, None)
        return linear.make(settings, config)

    def written(head: BiasedLinearHead, labels: tuple[str, ...]) -> dict[str, Any]:
        return {**_SUMMARY, **linear.config(head, labels)}

    return replace(linear, make=make, config=written)


FAMILY = Family(
    settings=EncoderSettings,
    prefix="transformer.",
    shape=_shape,
    config=_config,
    unlike=_unlike,
    backbone=_backbone,
    heads={
        TiedHead: Head(make=_head, names=one("bias", "pred_layer.proj.bias")),
        BiasedLinearHead: _sentence_head(),
        TokenLabelHead: token_head(None),
    },
    bare="XLMModel",
    classes=(
        ("XLMForSequenceClassification", frozenset({BiasedLinearHead})),
        ("XLMForTokenClassification", frozenset({TokenLabelHead})),
        ("XLMWithLMHeadModel", frozenset({TiedHead})),
        ("XLMModel", frozenset()),
    ),
    repeats={"pred_layer.proj.weight": "transformer.embeddings.weight"},
    buffers=frozenset({"position_ids"}),
    aliases={
        "n_words": "vocab_size",
        "pad_index": "pad_token_id",
        "bos_index": "bos_token_id",
        "eos_index": "eos_token_id",
        "mask_index": "mask_token_id",
    },
    special={"mask_index": "mask", "mask_token_id": "mask", "unk_index": "unk"},
)
