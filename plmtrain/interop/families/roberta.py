"""RoBERTa in Hugging Face's names."""

from __future__ import annotations

from functools import partial
from typing import Any

from plmtrain.interop.families import bert
from plmtrain.interop.family import Config, Family, Head, one, pair, unlike
from plmtrain.interop.sentence_heads import multiple_choice_head, sentence_head
from plmtrain.interop.span_heads import answer_head
from plmtrain.interop.token_heads import token_head
from plmtrain.nn.heads import MaskedLMHead, Pooler
from plmtrain.nn.task_heads import ChoiceHead, SentenceHead, SpanHead, TokenLabelHead
from plmtrain.settings.models.encoder import EncoderSettings


def _shape(config: Config) -> dict[str, Any]:
    shape = bert.shape(config)
    # In transformers the first position is the row after the padding id's.
    offset = config.whole("pad_token_id", 1) + 1
    return shape | {"position_offset": offset, "positions": shape["positions"] - offset}


def _config(settings: EncoderSettings) -> dict[str, Any]:
    return bert.config(settings) | {"pad_token_id": settings.position_offset - 1}


def _unlike(settings: EncoderSettings) -> list[str]:
    differences = unlike(settings, {**bert.DEMANDS, "shared_layers": False, "always_project": False, "activation": "gelu"})
    if settings.embedding_width not in (None, settings.width):
        differences.append(f"embedding_width=null (is {settings.embedding_width})")
    if not settings.segments:
        differences.append("segments=1 (is 0)")
    if not settings.position_offset:
        differences.append("position_offset=2 (is 0)")
    return differences


FAMILY = Family(
    settings=EncoderSettings,
    prefix="roberta.",
    shape=_shape,
    config=_config,
    unlike=_unlike,
    backbone=bert.backbone,
    heads={
        MaskedLMHead: Head(
            make=partial(bert.masked_lm_head, activation="gelu"),
            names={**pair("dense", "lm_head.dense"), **pair("norm", "lm_head.layer_norm"), **one("bias", "lm_head.bias")},
        ),
        Pooler: Head(make=bert.pooler, names=pair("dense", "roberta.pooler.dense")),
        SentenceHead: sentence_head("classifier.dense", "classifier.out_proj", "classifier_dropout"),
        ChoiceHead: multiple_choice_head("roberta.pooler.dense", "classifier", None),
        TokenLabelHead: token_head("classifier_dropout"),
        SpanHead: answer_head(),
    },
    bare="RobertaModel",
    classes=(
        ("RobertaForSequenceClassification", frozenset({SentenceHead})),
        ("RobertaForMultipleChoice", frozenset({ChoiceHead})),
        ("RobertaForTokenClassification", frozenset({TokenLabelHead})),
        ("RobertaForQuestionAnswering", frozenset({SpanHead})),
        ("RobertaForMaskedLM", frozenset({MaskedLMHead})),
        ("RobertaModel", frozenset({Pooler})),
        ("RobertaModel", frozenset()),
    ),
    repeats={
        "lm_head.decoder.weight": "roberta.embeddings.word_embeddings.weight",
        "lm_head.decoder.bias": "lm_head.bias",
    },
    buffers=bert.BUFFERS,
)
