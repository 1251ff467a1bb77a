"""DeBERTa (the first version) in Hugging Face's names.

The released checkpoints have the authors' names for the language-model head, which transformers' class reads only if config.json
says ``legacy: false``; here both are read. Its class has no enhanced mask decoder, and would predict something else with a head
that was trained with one: such a head is written by the authors' names, with the decoder's table of positions, as in the released
checkpoints, and transformers skips both. This table tells that a head belongs to the decoder: no config.json does, and the
authors' code applies the decoder wherever the input has no positions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from plmtrain.interop.family import THEIR_ACTIVATIONS, Config, Family, Head, Names, Source, one, pair, unlike
from plmtrain.interop.sentence_heads import sentence_head
from plmtrain.interop.span_heads import answer_head
from plmtrain.interop.token_heads import token_head
from plmtrain.nn.heads import MaskDecoderHead, MaskedLMHead, vocabulary_head
from plmtrain.nn.replaced_tokens import ContextReplacedTokenHead
from plmtrain.nn.task_heads import RowHead, SentenceHead, SpanHead, TokenLabelHead
from plmtrain.settings.models.disentangled import DisentangledSettings

_POSITIONS = "embeddings.position_embeddings.weight"
_FIRST = {"normed_distances": False, "shared_projections": False, "key_bias": False, "convolution": None}
"""Settings of the later versions, each with the value that the first one has."""
_HEAD, _RELEASED_HEAD, _REPLACED_HEAD = "cls.predictions.transform", "lm_predictions.lm_head", "mask_predictions"


@dataclass(frozen=True)
class _HeadByHead(Source):
    """A joined layer whose rows are the query, key and value of the first head, then of the next; ours has all queries first.

    Args:
        heads: the number of heads.
    """

    heads: int

    def split(self, tensor: Tensor) -> Sequence[Tensor]:
        return [_swapped(tensor, 3, self.heads)]

    def join(self, tensors: Sequence[Tensor]) -> Tensor:
        return _swapped(tensors[0], self.heads, 3)


def _swapped(tensor: Tensor, outer: int, inner: int) -> Tensor:
    """Reorder rows that two numbers count, so that the inner one becomes the outer one."""
    return tensor.reshape(outer, inner, -1, *tensor.shape[1:]).transpose(0, 1).flatten(0, 2).contiguous()


def shape(config: Config, *, layers: int = 12, width: int = 768, heads: int = 12, feed_forward: int = 3072) -> dict[str, Any]:
    """Return what the config.json of every version says.

    Args:
        config: the file.
        layers, width, heads, feed_forward: of a model whose file does not say: transformers' defaults.
    """
    config.demand("position_biased_input", False)
    config.demand("type_vocab_size", 0)
    width = config.whole("hidden_size", width)
    embedding_width = config.whole("embedding_size", width)
    positions = config.whole("max_position_embeddings", 512)
    farthest = config.number("max_relative_positions", -1)
    terms = _terms(config) if config.values.get("relative_attention", False) else ()
    return {
        "layers": config.whole("num_hidden_layers", layers),
        "width": width,
        "embedding_width": None if embedding_width == width else embedding_width,
        "heads": config.whole("num_attention_heads", heads),
        "feed_forward": config.whole("intermediate_size", feed_forward),
        "positions": positions,
        "relative_positions": int(farthest) if farthest >= 1 else positions,
        "content_to_position": "c2p" in terms,
        "position_to_content": "p2c" in terms,
        "mask_decoder": all(
            any(name.endswith(part) for name in config.tensors) for part in (_POSITIONS, f"{_RELEASED_HEAD}.bias")
        ),
        "activation": config.activation("hidden_act", "gelu"),
        "norm_eps": config.number("layer_norm_eps", 1e-7),
        "dropout": config.number("hidden_dropout_prob", 0.1),
        "attention_dropout": config.number("attention_probs_dropout_prob", 0.1),
        "initial_std": config.number("initializer_range", 0.02),
    }


def _shape(config: Config) -> dict[str, Any]:
    config.demand("talking_head", False)
    return shape(config)


def _terms(config: Config) -> tuple[str, ...]:
    """Return the terms of attention with positions, which old files write as one word: c2p|p2c."""
    value = config.values.get("pos_att_type") or []
    names = [name.strip() for name in value.lower().split("|")] if isinstance(value, str) else value
    if not isinstance(names, list) or any(name not in ("c2p", "p2c") for name in names) or len(set(names)) < len(names):
        raise config.wrong("pos_att_type", value, "c2p, p2c, or both")
    return tuple(names)


def config_of(settings: DisentangledSettings) -> dict[str, Any]:
    """Return the keys that every version has."""
    terms = {"c2p": settings.content_to_position, "p2c": settings.position_to_content}
    width = settings.embedding_width
    return {
        "num_hidden_layers": settings.layers,
        "hidden_size": settings.width,
        **({} if width in (None, settings.width) else {"embedding_size": width}),
        "num_attention_heads": settings.heads,
        "intermediate_size": settings.feed_forward,
        "max_position_embeddings": settings.positions,
        "max_relative_positions": settings.relative_positions,
        "relative_attention": settings.position_terms > 0,
        "pos_att_type": [name for name, used in terms.items() if used],
        "position_biased_input": False,
        "type_vocab_size": 0,
        "hidden_act": THEIR_ACTIVATIONS[settings.activation],
        "layer_norm_eps": settings.norm_eps,
        "hidden_dropout_prob": settings.dropout,
        "attention_probs_dropout_prob": settings.attention_dropout,
        "initializer_range": settings.initial_std,
        "legacy": True,
    }


def backbone(settings: DisentangledSettings, attention: Callable[[str, str], Names]) -> Names:
    """Return the names of a backbone.

    Args:
        settings: of the model.
        attention: the names of a layer's projections, from plmtrain's prefix and the file's.
    """
    names = one("token.weight", "embeddings.word_embeddings.weight") | pair("embedding_norm", "embeddings.LayerNorm")
    if settings.embedding_width not in (None, settings.width):
        names |= one("projection.weight", "embeddings.embed_proj.weight")
    if settings.position_terms:
        names |= one("relative.weight", "encoder.rel_embeddings.weight")
    for layer in range(settings.layers):
        ours, theirs = f"layers.{layer}", f"encoder.layer.{layer}"
        names |= attention(f"{ours}.attention", f"{theirs}.attention.self")
        names |= pair(f"{ours}.attention.output", f"{theirs}.attention.output.dense")
        names |= pair(f"{ours}.attention_norm", f"{theirs}.attention.output.LayerNorm")
        names |= pair(f"{ours}.feed_forward_in", f"{theirs}.intermediate.dense")
        names |= pair(f"{ours}.feed_forward_out", f"{theirs}.output.dense")
        names |= pair(f"{ours}.feed_forward_norm", f"{theirs}.output.LayerNorm")
    return names


def _unlike(settings: DisentangledSettings) -> list[str]:
    return unlike(settings, {"relative_buckets": None, **_FIRST})


def _backbone(settings: DisentangledSettings) -> Names:
    def attention(ours: str, theirs: str) -> Names:
        names: Names = {f"{ours}.query_key_value.weight": _HeadByHead((f"{theirs}.in_proj.weight",), settings.heads)}
        names |= one(f"{ours}.query_bias", f"{theirs}.q_bias") | one(f"{ours}.value_bias", f"{theirs}.v_bias")
        if settings.content_to_position:
            names |= one(f"{ours}.position_key.weight", f"{theirs}.pos_proj.weight")
        if settings.position_to_content:
            names |= pair(f"{ours}.position_query", f"{theirs}.pos_q_proj")
        return names

    return backbone(settings, attention)


def _lm_head(settings: DisentangledSettings, config: Config) -> MaskedLMHead:
    head = vocabulary_head(settings, config.whole("vocab_size", 0))
    assert isinstance(head, MaskedLMHead)
    return head


def _sentence_head() -> Head[DisentangledSettings]:
    """Return the head for text classification, each of whose two dropouts has a key."""
    usual = sentence_head("pooler.dense", "classifier", "cls_dropout")

    def make(settings: DisentangledSettings, config: Config) -> RowHead:
        config.demand("pooler_hidden_act", "gelu")
        config.demand("pooler_hidden_size", settings.width)
        head = usual.make(settings, config)
        assert isinstance(head, SentenceHead)
        head.dropout_before = config.number("pooler_dropout", 0.0)
        return head

    return replace(
        usual,
        make=make,
        config=lambda head, labels: {**usual.config(head, labels), "pooler_dropout": head.dropout_before},
    )


def family(
    name: str,
    *,
    shape: Callable[[Config], dict[str, Any]],
    config: Callable[[DisentangledSettings], dict[str, Any]],
    unlike: Callable[[DisentangledSettings], list[str]],
    backbone: Callable[[DisentangledSettings], Names],
) -> Family[DisentangledSettings]:
    """Return the format of a version's folders.

    Args:
        name: what the names of transformers' classes begin with.
        shape, config, unlike, backbone: as in ``Family``.
    """
    return Family(
        settings=DisentangledSettings,
        prefix="deberta.",
        shape=shape,
        config=config,
        unlike=unlike,
        backbone=backbone,
        heads={
            MaskedLMHead: Head(
                make=_lm_head,
                names={
                    **pair("dense", f"{_HEAD}.dense"),
                    **pair("norm", f"{_HEAD}.LayerNorm"),
                    **one("bias", "cls.predictions.bias"),
                },
                fits=lambda settings: not settings.mask_decoder,
            ),
            MaskDecoderHead: Head(
                make=_lm_head,
                names={
                    **pair("dense", f"{_RELEASED_HEAD}.dense"),
                    **pair("norm", f"{_RELEASED_HEAD}.LayerNorm"),
                    **one("bias", f"{_RELEASED_HEAD}.bias"),
                    **one("position.weight", f"deberta.{_POSITIONS}"),
                },
                fits=lambda settings: settings.mask_decoder,
            ),
            ContextReplacedTokenHead: Head(
                make=lambda settings, config: ContextReplacedTokenHead(settings.width, settings.activation, settings.norm_eps),
                names={
                    **pair("norm", f"{_REPLACED_HEAD}.LayerNorm"),
                    **pair("dense", f"{_REPLACED_HEAD}.dense"),
                    **pair("score", f"{_REPLACED_HEAD}.classifier"),
                },
            ),
            SentenceHead: _sentence_head(),
            TokenLabelHead: token_head(None),
            SpanHead: answer_head(),
        },
        bare=f"{name}Model",
        classes=(
            (f"{name}ForSequenceClassification", frozenset({SentenceHead})),
            (f"{name}ForTokenClassification", frozenset({TokenLabelHead})),
            (f"{name}ForQuestionAnswering", frozenset({SpanHead})),
            (f"{name}ForMaskedLM", frozenset({MaskedLMHead})),
            (f"{name}Model", frozenset()),
        ),
        repeats={
            "cls.predictions.decoder.weight": "deberta.embeddings.word_embeddings.weight",
            "cls.predictions.decoder.bias": "cls.predictions.bias",
            **{
                f"{_RELEASED_HEAD}.{layer}.{kind}": f"{_HEAD}.{layer}.{kind}"
                for layer in ("dense", "LayerNorm")
                for kind in ("weight", "bias")
            },
            f"{_RELEASED_HEAD}.bias": "cls.predictions.bias",
        },
        buffers=frozenset({_POSITIONS, "embeddings.position_ids"}),
        tolerance=1e-4,
    )


FAMILY = family("Deberta", shape=_shape, config=config_of, unlike=_unlike, backbone=_backbone)
