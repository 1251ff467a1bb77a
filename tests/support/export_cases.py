"""A run of every kind that is exported, with the class of transformers that it becomes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Case:
    """A run, and transformers' class for it."""

    system: str
    architecture: str
    auto: str
    segments: int = 2
    part: str | None = None
    pad_left: bool = False

    @property
    def classifies(self) -> bool:
        """Whether it tells the classes of texts."""
        return "SequenceClassification" in self.architecture

    @property
    def finds_answers(self) -> bool:
        """Whether it scores tokens as the ends of answers."""
        return "QuestionAnswering" in self.architecture

    @property
    def chooses(self) -> bool:
        """Whether it scores choices."""
        return "MultipleChoice" in self.architecture


def classifier(model: str, name: str, **more: Any) -> Case:
    """A fine-tuned run of a family."""
    task = "task=classification task.labels=[bad,so_so,good]"
    return Case(f"model={model} {task}", f"{name}ForSequenceClassification", "AutoModelForSequenceClassification", **more)


def tagger(model: str, name: str, **more: Any) -> Case:
    """A run of a family that labels words."""
    task = "task=token_labels task.labels=[O,B-x,I-x]"
    return Case(f"model={model} {task}", f"{name}ForTokenClassification", "AutoModelForTokenClassification", **more)


def answerer(model: str, name: str, **more: Any) -> Case:
    """A run of a family that finds answers in texts."""
    auto = "AutoModelForQuestionAnswering"
    return Case(f"model={model} task=question_answering", f"{name}ForQuestionAnswering", auto, **more)


def chooser(model: str, name: str, **more: Any) -> Case:
    """A run of a family that chooses between texts."""
    return Case(f"model={model} task=multiple_choice", f"{name}ForMultipleChoice", "AutoModelForMultipleChoice", **more)


T5 = "model=t5_base objective=span_corruption model.head_width=8"
TAGGERS = {
    **{"bert_tags": tagger("bert", "Bert"), "roberta_tags": tagger("roberta", "Roberta", segments=1)},
    **{"albert_tags": tagger("albert", "Albert"), "electra_tags": tagger("electra", "Electra")},
    **{"distilbert_tags": tagger("distilbert", "DistilBert", segments=0), "gpt2_tags": tagger("gpt2", "GPT2", segments=0)},
    **{"xlnet_tags": tagger("xlnet", "XLNet", pad_left=True), "deberta_tags": tagger("deberta", "Deberta", segments=0)},
}
ANSWERERS = {
    **{"bert_spans": answerer("bert", "Bert"), "roberta_spans": answerer("roberta", "Roberta", segments=1)},
    **{"albert_spans": answerer("albert", "Albert"), "electra_spans": answerer("electra", "Electra")},
    **{"distilbert_spans": answerer("distilbert", "DistilBert", segments=0), "bart_spans": answerer("bart", "Bart", segments=0)},
    **{
        "xlnet_spans": Case(
            "model=xlnet task=question_answering",
            "XLNetForQuestionAnsweringSimple",
            "AutoModelForQuestionAnswering",
            pad_left=True,
        )
    },
    **{"deberta_spans": answerer("deberta", "Deberta", segments=0)},
}
CHOOSERS = {
    **{"bert_choices": chooser("bert", "Bert"), "roberta_choices": chooser("roberta", "Roberta", segments=1)},
    **{"albert_choices": chooser("albert", "Albert"), "electra_choices": chooser("electra", "Electra")},
    **{"distilbert_choices": chooser("distilbert", "DistilBert", segments=0)},
    **{"xlnet_choices": chooser("xlnet", "XLNet", pad_left=True)},
}


CASES = {
    "bert": Case("model=bert objective=mlm", "BertForMaskedLM", "AutoModelForMaskedLM"),
    "roberta": Case("model=roberta objective=dynamic_mlm", "RobertaForMaskedLM", "AutoModelForMaskedLM", segments=1),
    "albert": Case("model=albert objective=mlm model.embedding_width=16", "AlbertForMaskedLM", "AutoModelForMaskedLM"),
    "electra": Case("model=electra objective=mlm", "ElectraForMaskedLM", "AutoModelForMaskedLM"),
    "distilbert": Case("model=distilbert objective=mlm", "DistilBertForMaskedLM", "AutoModelForMaskedLM", segments=0),
    "deberta": Case(
        "model=deberta objective=ngram_mlm model.mask_decoder=false", "DebertaForMaskedLM", "AutoModelForMaskedLM", segments=0
    ),
    "deberta_v2": Case(
        "model=deberta_v2_xlarge objective=ngram_mlm model.mask_decoder=false",
        "DebertaV2ForMaskedLM",
        "AutoModelForMaskedLM",
        segments=0,
    ),
    "disentangled_generator": Case(
        "model=deberta_v3_small objective=rtd objective.share_embeddings=gradient_disentangled model.mask_decoder=false",
        "DebertaV2ForMaskedLM",
        "AutoModelForMaskedLM",
        segments=0,
        part="generator",
    ),
    "distilled": Case(
        "model=distilbert objective=distillation teacher=large objective.teacher_width=36",
        "DistilBertForMaskedLM",
        "AutoModelForMaskedLM",
        segments=0,
    ),
    "distilgpt2": Case(
        "model=gpt2 objective=causal_distillation teacher=large", "GPT2LMHeadModel", "AutoModelForCausalLM", segments=0
    ),
    "spanbert": Case("model=bert objective=spanbert", "BertForMaskedLM", "AutoModelForMaskedLM"),
    "discriminator": Case("model=electra objective=rtd", "ElectraForPreTraining", "AutoModelForPreTraining"),
    "generator": Case("model=electra objective=rtd", "ElectraForMaskedLM", "AutoModelForMaskedLM", part="generator"),
    "xlnet": Case("model=xlnet objective=plm", "XLNetLMHeadModel", "AutoModelForCausalLM", pad_left=True),
    "bart": Case("model=bart objective=bart", "BartForConditionalGeneration", "AutoModelForSeq2SeqLM", segments=0),
    "t5": Case(T5, "T5ForConditionalGeneration", "AutoModelForSeq2SeqLM", segments=0),
    "gpt1": Case("model=gpt1 objective=clm model.feed_forward=96", "OpenAIGPTLMHeadModel", "AutoModelForCausalLM", segments=0),
    "gpt2": Case("model=gpt2 objective=clm", "GPT2LMHeadModel", "AutoModelForCausalLM", segments=0),
    "bert_classes": classifier("bert", "Bert"),
    "roberta_classes": classifier("roberta", "Roberta", segments=1),
    "albert_classes": classifier("albert", "Albert"),
    "electra_classes": classifier("electra", "Electra"),
    "distilbert_classes": classifier("distilbert", "DistilBert", segments=0),
    "deberta_classes": classifier("deberta", "Deberta", segments=0),
    "deberta_v3_classes": classifier("deberta_v3_small", "DebertaV2", segments=0),
    "xlm_classes": classifier("xlm model.feed_forward=96", "XLM", segments=0),
    "xlnet_classes": classifier("xlnet", "XLNet", pad_left=True),
    "bart_classes": classifier("bart", "Bart", segments=0),
    "gpt1_classes": classifier("gpt1 model.feed_forward=96", "OpenAIGPT", segments=0),
    "gpt2_classes": classifier("gpt2", "GPT2", segments=0),
    **TAGGERS,
    **ANSWERERS,
    **CHOOSERS,
}
