"""ELECTRA in Hugging Face's names: its generator has a class of its own, and so has its discriminator."""

from __future__ import annotations

from functools import partial
from typing import Any

from plmtrain.interop.families import bert
from plmtrain.interop.family import Config, Family, Head, Names, one, pair, unlike
from plmtrain.interop.sentence_heads import multiple_choice_head, sentence_head
from plmtrain.interop.span_heads import answer_head
from plmtrain.interop.token_heads import token_head
from plmtrain.nn.heads import MaskedLMHead, ReplacedTokenHead
from plmtrain.nn.task_heads import ChoiceHead, SentenceHead, SpanHead, TokenLabelHead
from plmtrain.settings.models.encoder import EncoderSettings


def _shape(config: Config) -> dict[str, Any]:
    shape = bert.shape(config)
    # transformers' defaults are those of ELECTRA-small.
    small = {
        "width": config.whole("hidden_size", 256),
        "heads": config.whole("num_attention_heads", 4),
        "feed_forward": config.whole("intermediate_size", 1024),
    }
    return shape | small | {"embedding_width": config.whole("embedding_size", 128)}


def _config(settings: EncoderSettings) -> dict[str, Any]:
    return bert.config(settings) | {"embedding_size": settings.embedding_width or settings.width}


def backbone(settings: EncoderSettings) -> Names:
    """Return BERT's names, and a projection where the widths differ."""
    names = bert.backbone(settings)
    if settings.embedding_width not in (None, settings.width):
        names |= pair("embeddings.projection", "embeddings_project")
    return names


def _unlike(settings: EncoderSettings) -> list[str]:
    # transformers' head always has the GELU with the error function: a model with another one would compute something else.
    demands = {**bert.DEMANDS, "shared_layers": False, "always_project": False, "position_offset": 0, "activation": "gelu"}
    return unlike(settings, demands) + ([] if settings.segments else ["segments=1 or more (is 0)"])


def _replaced_token_head(settings: EncoderSettings, config: Config) -> ReplacedTokenHead:
    return ReplacedTokenHead(settings.width, settings.activation)


FAMILY = Family(
    settings=EncoderSettings,
    prefix="electra.",
    shape=_shape,
    config=_config,
    unlike=_unlike,
    backbone=backbone,
    heads={
        MaskedLMHead: Head(
            make=partial(bert.masked_lm_head, activation="gelu"),
            names={
                **pair("dense", "generator_predictions.dense"),
                **pair("norm", "generator_predictions.LayerNorm"),
                **one("bias", "generator_lm_head.bias"),
            },
        ),
        ReplacedTokenHead: Head(
            make=_replaced_token_head,
            names={
                **pair("dense", "discriminator_predictions.dense"),
                **pair("score", "discriminator_predictions.dense_prediction"),
            },
        ),
        SentenceHead: sentence_head("classifier.dense", "classifier.out_proj", "classifier_dropout"),
        ChoiceHead: multiple_choice_head("sequence_summary.summary", "classifier", "summary_last_dropout"),
        TokenLabelHead: token_head("classifier_dropout"),
        SpanHead: answer_head(),
    },
    bare="ElectraModel",
    classes=(
        ("ElectraForSequenceClassification", frozenset({SentenceHead})),
        ("ElectraForMultipleChoice", frozenset({ChoiceHead})),
        ("ElectraForTokenClassification", frozenset({TokenLabelHead})),
        ("ElectraForQuestionAnswering", frozenset({SpanHead})),
        ("ElectraForPreTraining", frozenset({ReplacedTokenHead})),
        ("ElectraForMaskedLM", frozenset({MaskedLMHead})),
        ("ElectraModel", frozenset()),
    ),
    repeats={"generator_lm_head.weight": "electra.embeddings.word_embeddings.weight"},
    buffers=bert.BUFFERS,
)
