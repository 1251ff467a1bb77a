"""Hugging Face folders of every class that we read, as transformers saves them: tiny, and every parameter random."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import transformers
from support.finished_run import randomised, tokenizer_for
from torch import nn

from plmtrain.settings.tokenizer import TokenizerSettings
from plmtrain.text.tokenizer import Tokenizer

TOKENIZERS = {
    "bert": "wordpiece",
    "roberta": "byte_bpe",
    "albert": "unigram",
    "xlnet": "unigram",
    "deberta": "byte_bpe",
    "xlm": "byte_bpe",
    "t5": "unigram",
    "gpt1": "bpe",
    "gpt2": "byte_bpe",
}
BERT_SHAPE = {
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 40,
    "max_position_embeddings": 40,
}
SMALL_SHAPE = BERT_SHAPE | {"embedding_size": 16}
DISTILBERT_SHAPE = {"dim": 24, "n_layers": 2, "n_heads": 3, "hidden_dim": 40, "max_position_embeddings": 40}
DEBERTA_SHAPE = BERT_SHAPE | {
    "relative_attention": True,
    "pos_att_type": ["p2c", "c2p"],
    "position_biased_input": False,
    "type_vocab_size": 0,
}
DEBERTA_V2_SHAPE = DEBERTA_SHAPE | {"position_buckets": 6, "share_att_key": True, "norm_rel_ebd": "layer_norm"}
XLM_SHAPE = {"emb_dim": 24, "n_layers": 2, "n_heads": 3, "max_position_embeddings": 40}
XLNET_SHAPE = {"d_model": 24, "n_layer": 2, "n_head": 3, "d_inner": 40}
BART_SHAPE = {"d_model": 24, "max_position_embeddings": 40} | {
    f"{side}_{key}": value
    for side in ("encoder", "decoder")
    for key, value in (("layers", 2), ("attention_heads", 3), ("ffn_dim", 40))
}
T5_SHAPE = {"d_model": 24, "d_kv": 6, "d_ff": 40, "num_layers": 2, "num_heads": 3, "decoder_start_token_id": 0}
GPT2_SHAPE = {"n_embd": 24, "n_layer": 2, "n_head": 3, "n_inner": 40, "n_positions": 40}
GPT1_SHAPE = {"n_embd": 24, "n_layer": 2, "n_head": 3, "n_positions": 40}
LABELS = {"id2label": {0: "bad", 1: "so so", 2: "good"}, "label2id": {"bad": 0, "so so": 1, "good": 2}}
CLASSES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "BertForMaskedLM": ("BertConfig", "bert", BERT_SHAPE),
    "BertForPreTraining": ("BertConfig", "bert", BERT_SHAPE),
    "BertForSequenceClassification": ("BertConfig", "bert", BERT_SHAPE | LABELS),
    "BertModel": ("BertConfig", "bert", BERT_SHAPE),
    "RobertaForMaskedLM": ("RobertaConfig", "roberta", BERT_SHAPE | {"type_vocab_size": 1}),
    "RobertaForSequenceClassification": ("RobertaConfig", "roberta", BERT_SHAPE | {"type_vocab_size": 1} | LABELS),
    "AlbertForMaskedLM": ("AlbertConfig", "albert", SMALL_SHAPE),
    "AlbertForPreTraining": ("AlbertConfig", "albert", SMALL_SHAPE),
    "AlbertForSequenceClassification": ("AlbertConfig", "albert", SMALL_SHAPE | LABELS),
    "ElectraForMaskedLM": ("ElectraConfig", "bert", SMALL_SHAPE),
    "ElectraForPreTraining": ("ElectraConfig", "bert", SMALL_SHAPE),
    "ElectraForSequenceClassification": ("ElectraConfig", "bert", SMALL_SHAPE | LABELS),
    "DistilBertForMaskedLM": ("DistilBertConfig", "bert", DISTILBERT_SHAPE),
    "DistilBertForSequenceClassification": ("DistilBertConfig", "bert", DISTILBERT_SHAPE | LABELS),
    "DebertaForMaskedLM": ("DebertaConfig", "deberta", DEBERTA_SHAPE),
    "DebertaForSequenceClassification": ("DebertaConfig", "deberta", DEBERTA_SHAPE | LABELS),
    "DebertaV2ForMaskedLM": (
        "DebertaV2Config",
        "deberta",
        DEBERTA_V2_SHAPE | {"conv_kernel_size": 3, "conv_act": "gelu", "conv_groups": 1, "attention_head_size": 8},
    ),
    "DebertaV2ForSequenceClassification": ("DebertaV2Config", "deberta", DEBERTA_V2_SHAPE | LABELS),
    "XLMWithLMHeadModel": ("XLMConfig", "xlm", XLM_SHAPE | {"n_langs": 3}),
    "XLMModel": ("XLMConfig", "xlm", XLM_SHAPE),
    "XLMForSequenceClassification": ("XLMConfig", "xlm", XLM_SHAPE | LABELS),
    "XLNetLMHeadModel": ("XLNetConfig", "xlnet", XLNET_SHAPE),
    "XLNetForSequenceClassification": ("XLNetConfig", "xlnet", XLNET_SHAPE | LABELS),
    "BartForConditionalGeneration": ("BartConfig", "roberta", BART_SHAPE),
    "BartForSequenceClassification": ("BartConfig", "roberta", BART_SHAPE | LABELS),
    "T5ForConditionalGeneration": ("T5Config", "t5", T5_SHAPE),
    "OpenAIGPTLMHeadModel": ("OpenAIGPTConfig", "gpt1", GPT1_SHAPE),
    "OpenAIGPTForSequenceClassification": ("OpenAIGPTConfig", "gpt1", GPT1_SHAPE | LABELS),
    "GPT2LMHeadModel": ("GPT2Config", "gpt2", GPT2_SHAPE),
    "GPT2ForSequenceClassification": ("GPT2Config", "gpt2", GPT2_SHAPE | LABELS),
}


def tokenizer(family: Any) -> Tokenizer:
    type: Any = TOKENIZERS[family]
    return tokenizer_for(
        TokenizerSettings(type=type, family=family, vocab_size=400, lowercase=family in ("bert", "albert", "gpt1"))
    )


def stranger(place: Path, name: str, **more: Any) -> nn.Module:
    """A folder that transformers saved, every parameter random; its model.

    Args:
        place: the folder.
        name: of the class.
        more: keys of its config.json, in place of those that it has here.
    """
    config, family, shape = CLASSES[name]
    shape = {key: value for key, value in shape.items() if key not in LABELS} | more if more else shape
    tokens = tokenizer(family)
    roles = tokens.vocabulary.roles
    special = {f"{role}_token_id": roles.get(role) for role in ("pad", "bos", "eos")}
    made = getattr(transformers, config)(vocab_size=tokens.vocabulary.size, **special, **shape)
    model = randomised(getattr(transformers, name)(made))
    model.save_pretrained(place)
    tokens.save(place)
    return model
