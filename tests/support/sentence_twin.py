"""Transformers' classes for texts and pairs, with the weights of our learners."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import transformers
from support.memory_rows import VOCABULARY

from plmtrain.batch import Batch
from plmtrain.interop.hugging_face import MODEL_TYPES, family_of
from plmtrain.interop.placing import named_tensors


def randomise(module: torch.nn.Module) -> None:
    """Draw every parameter: fresh biases are 0 and norms the identity, which hides swapped tensors."""
    generator = torch.Generator().manual_seed(3)
    for parameter in module.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) * 0.2


# Names of the head in transformers' class: its first layer and its last one.
HEADS = {
    "bert": ("BertForSequenceClassification", "bert.pooler.dense", "classifier"),
    "albert": ("AlbertForSequenceClassification", "albert.pooler", "classifier"),
    "roberta": ("RobertaForSequenceClassification", "classifier.dense", "classifier.out_proj"),
    "electra": ("ElectraForSequenceClassification", "classifier.dense", "classifier.out_proj"),
    "distilbert": ("DistilBertForSequenceClassification", "pre_classifier", "classifier"),
    "deberta": ("DebertaForSequenceClassification", "pooler.dense", "classifier"),
    "deberta_v2": ("DebertaV2ForSequenceClassification", "pooler.dense", "classifier"),
    "xlm": ("XLMForSequenceClassification", None, "sequence_summary.summary"),
    "xlnet": ("XLNetForSequenceClassification", "sequence_summary.summary", "logits_proj"),
    "bart": ("BartForSequenceClassification", "classification_head.dense", "classification_head.out_proj"),
    "gpt1": ("OpenAIGPTForSequenceClassification", None, "score"),
    "gpt2": ("GPT2ForSequenceClassification", None, "score"),
}


SPAN_HEADS = {
    "bert": ("BertForQuestionAnswering", None, "qa_outputs"),
    "roberta": ("RobertaForQuestionAnswering", None, "qa_outputs"),
    "albert": ("AlbertForQuestionAnswering", None, "qa_outputs"),
    "electra": ("ElectraForQuestionAnswering", None, "qa_outputs"),
    "distilbert": ("DistilBertForQuestionAnswering", None, "qa_outputs"),
    "deberta": ("DebertaForQuestionAnswering", None, "qa_outputs"),
    "xlnet": ("XLNetForQuestionAnsweringSimple", None, "qa_outputs"),
    "bart": ("BartForQuestionAnswering", None, "qa_outputs"),
}


def twin(family: str, learner: Any, heads: Mapping[str, Any] = HEADS, **outputs: Any) -> Any:
    """Transformers' class of the same shape with the same weights, in eval mode.

    Args:
        family: of the model.
        learner: whose weights; it has a ``backbone`` and a ``head``.
        heads: the classes and their names.
        outputs: keys of the config.json that say what the head gives.
    """
    settings = learner.backbone.settings
    description = family_of(family, "")
    values = {
        **description.config(settings),
        "vocab_size": VOCABULARY.size,
        **outputs,
        "attn_implementation": "eager",
    }
    specials = {
        "pad_token_id": 1 if family == "roberta" else 0,
        "bos_token_id": 2,
        "eos_token_id": 3,
        "decoder_start_token_id": 3,
    }
    config = transformers.AutoConfig.for_model(MODEL_TYPES.get(family, family), **{**values, **specials})
    name, dense, scores = heads[family]
    other = getattr(transformers, name)(config).eval()
    weights = {
        f"{description.prefix}{their}": part
        for their, part in named_tensors(learner.backbone, description.backbone(settings)).items()
    }
    for layer, place in (("dense", dense), ("scores", scores)):
        if place is not None:
            weights |= {f"{place}.{name}": value.detach() for name, value in getattr(learner.head, layer).named_parameters()}
    missing, unexpected = other.load_state_dict(weights, strict=False)
    tied = {"model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight"} if family == "bart" else set()
    buffers = {"bert.pooler.dense"} if family == "bert" else set()
    assert set(missing) - tied - buffers <= {name for name, _ in other.named_buffers()}
    assert unexpected == []
    return other


def inputs_of(family: str, batch: Batch) -> dict[str, torch.Tensor]:
    """What transformers' class is called with to read a batch."""
    inputs = {"input_ids": batch.inputs.ids, "attention_mask": batch.inputs.layout.tokens.long()}
    if batch.inputs.segments is not None:
        inputs["token_type_ids"] = batch.inputs.segments
    if family == "roberta":
        # Their code counts positions from the padding id, which is another one in this vocabulary.
        inputs["position_ids"] = torch.arange(2, 2 + batch.inputs.ids.shape[1])[None]
    return inputs
