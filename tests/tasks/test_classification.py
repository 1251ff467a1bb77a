"""Classification: every family's head against transformers' class, metrics against scikit-learn, and that it learns."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from sklearn import metrics
from support.memory_rows import VOCABULARY
from support.tiny_task import MODELS, examples, program, tiny_model

from plmtrain import backbones
from plmtrain.errors import DataError
from plmtrain.interop.hugging_face import family_of
from plmtrain.interop.placing import split
from plmtrain.keyed_random import Keys
from plmtrain.settings.tasks.classification import ClassificationSettings
from plmtrain.settings.tokenizer import TokenizerSettings
from plmtrain.tasks.classification import Classification, ClassificationLearner, measure
from plmtrain.text.tokenizer import Tokenizer
from plmtrain.text.tokenizer_training import train

CLASSES = 3
torch.set_num_threads(1)


def keys(count: int) -> Keys:
    return Keys(0, np.zeros(count, np.int64), np.arange(count))


def learner_of(task: Classification) -> ClassificationLearner:
    torch.manual_seed(0)
    return task.build(lambda model: backbones.build(model, VOCABULARY.size))


def randomise(module: torch.nn.Module) -> None:
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
    "xlnet": ("XLNetForSequenceClassification", "sequence_summary.summary", "logits_proj"),
    "bart": ("BartForSequenceClassification", "classification_head.dense", "classification_head.out_proj"),
}


def twin(family: str, learner: ClassificationLearner) -> Any:
    """Transformers' class of the same shape with the same weights, in eval mode."""
    settings = learner.backbone.settings
    description = family_of(family, "")
    values = {
        **description.config(settings),
        "vocab_size": VOCABULARY.size,
        "num_labels": CLASSES,
        "attn_implementation": "eager",
    }
    specials = {
        "pad_token_id": 1 if family == "roberta" else 0,
        "bos_token_id": 2,
        "eos_token_id": 3,
        "decoder_start_token_id": 3,
    }
    config = transformers.AutoConfig.for_model(family, **{**values, **specials})
    name, dense, scores = HEADS[family]
    other = getattr(transformers, name)(config).eval()
    weights = {
        f"{description.prefix}{their}": part for their, part in split(learner.backbone, description.backbone(settings)).items()
    }
    for layer, place in ((learner.head.dense, dense), (learner.head.scores, scores)):
        weights |= {f"{place}.weight": layer.weight.detach(), f"{place}.bias": layer.bias.detach()}
    missing, unexpected = other.load_state_dict(weights, strict=False)
    tied = {"model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight"} if family == "bart" else set()
    buffers = {"bert.pooler.dense"} if family == "bert" else set()
    assert set(missing) - tied - buffers <= {name for name, _ in other.named_buffers()}
    assert unexpected == []
    return other


@pytest.mark.parametrize("pairs", [False, True])
@pytest.mark.parametrize("family", MODELS)
def test_logits_are_those_of_transformers(family: str, pairs: bool) -> None:
    task = program(tiny_model(family), pairs=pairs, length=24)
    learner = learner_of(task).eval()
    randomise(learner)
    rows = examples(6, task.row_length(24), pairs=pairs)
    batch = task.collate(rows.fetch(np.arange(6)), keys(6))
    other = twin(family, learner)
    inputs = {"input_ids": batch.inputs["ids"], "attention_mask": batch.layout.tokens.long()}
    if "segments" in batch.inputs:
        inputs["token_type_ids"] = batch.inputs["segments"]
    if family == "roberta":
        # Their code counts positions from the padding id, which is another one in this vocabulary.
        inputs["position_ids"] = torch.arange(2, 2 + batch.inputs["ids"].shape[1])[None]
    with torch.no_grad():
        torch.testing.assert_close(learner.scores(batch), other(**inputs).logits, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("family", MODELS)
def test_every_parameter_gets_a_gradient(family: str) -> None:
    task = program(tiny_model(family), length=24)
    learner = learner_of(task).train()
    batch = task.collate(examples(8, task.row_length(24)).fetch(np.arange(8)), keys(8))
    terms, _ = task.loss(learner, batch, {})
    terms["classification"].total.backward()
    free = {name for name, parameter in learner.named_parameters() if parameter.requires_grad}
    without = {name for name in free if not learner.get_parameter(name).grad.abs().sum() > 0}
    assert without == set()
    assert {name for name, _ in learner.named_parameters()} - free == ({"backbone.mask"} if family == "xlnet" else set())


@pytest.mark.parametrize("family", MODELS)
def test_eight_rows_are_overfitted(family: str) -> None:
    model = tiny_model(family, "model.dropout=0", "model.attention_dropout=0", "model.initial_std=0.1")
    task = program(model, length=24, dropout=0.0)
    learner = learner_of(task).train()
    batch = task.collate(examples(8, task.row_length(24)).fetch(np.arange(8)), keys(8))
    optimizer = torch.optim.Adam(learner.parameters(), lr=0.01)
    for _ in range(300):
        terms, _ = task.loss(learner, batch, {})
        loss = terms["classification"].total / 8
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if loss.item() < 0.05:
            break
    assert loss.item() < 0.05
    answers = task.predict(learner.eval(), batch)
    assert [answer["label"] for answer in answers] == [f"class {label}" for label in batch.targets["labels"].tolist()]


@pytest.mark.parametrize("family", MODELS)
def test_neither_padding_nor_company_changes_an_answer(family: str) -> None:
    task = program(tiny_model(family), length=24)
    learner = learner_of(task).eval()
    randomise(learner)
    rows = examples(6, task.row_length(24))
    together = task.predict(learner, task.collate(rows.fetch(np.arange(6)), keys(6)))
    for index, answer in enumerate(together):
        (alone,) = task.predict(learner, task.collate(rows.fetch(np.array([index])), keys(1)))
        assert list(alone["probabilities"].values()) == pytest.approx(list(answer["probabilities"].values()), abs=1e-5)


def test_rows_of_other_lengths_are_declared() -> None:
    """A kernel for each length would soon be too many: torch gives up after eight, and which ones depends on the order."""
    task = program(length=30)
    rows = examples(400, task.row_length(30))
    one_by_one = [task.collate(rows.fetch(np.array([index])), keys(1)) for index in range(400)]
    assert len({batch.inputs["ids"].shape for batch in one_by_one}) > 1
    assert task.ragged


def test_losses_are_sums_and_counts_are_confusions() -> None:
    task = program()
    learner = learner_of(task).eval()
    batch = task.collate(examples(12, task.row_length(14)).fetch(np.arange(12)), keys(12))
    terms, _ = task.loss(learner, batch, {})
    logits = learner.scores(batch)
    labels = batch.targets["labels"]
    expected = torch.nn.functional.cross_entropy(logits, labels, reduction="sum")
    assert terms["classification"].total.item() == pytest.approx(expected.item(), rel=1e-5)
    assert terms["classification"].normaliser == 12
    confusion = terms["classification"].counts["confusion"].numpy()
    assert confusion.tolist() == metrics.confusion_matrix(labels, logits.argmax(-1), labels=range(CLASSES)).tolist()


@pytest.mark.parametrize("classes", [2, 4])
def test_metrics_are_those_of_scikit_learn_on_the_predictions_themselves(classes: int) -> None:
    numbers = np.random.default_rng(classes)
    true, predicted = numbers.integers(0, classes, 200), numbers.integers(0, classes, 200)
    predicted[:100] = true[:100]
    confusion = metrics.confusion_matrix(true, predicted, labels=range(classes)).astype(float)
    average = "binary" if classes == 2 else "macro"
    assert measure("accuracy", confusion) == pytest.approx(metrics.accuracy_score(true, predicted))
    assert measure("f1", confusion) == pytest.approx(metrics.f1_score(true, predicted, average=average))
    assert measure("mcc", confusion) == pytest.approx(metrics.matthews_corrcoef(true, predicted))


def test_the_second_class_is_the_one_that_f1_is_of() -> None:
    """GLUE's MRPC and QQP: the class of number 1 is the pairs that say the same."""
    confusion = np.array([[0.0, 10.0], [0.0, 90.0]])  # everything is taken for the second class
    assert measure("f1", confusion) == pytest.approx(2 * 0.9 / 1.9)
    assert measure("f1", confusion[::-1, ::-1]) == 0.0


def test_the_first_metric_chooses() -> None:
    task = program()
    assert (task.selection.measure, task.selection.higher, task.selection.decides) == ("accuracy", True, True)
    assert set(task.measures({"classification/confusion": np.eye(CLASSES)}).values()) == {1.0}


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    texts = ["the cat sat on the mat .", "a dog ran to the cat ."] * 20
    return train(iter(texts), TokenizerSettings(type="wordpiece", family="bert", vocab_size=80, lowercase=True))


def asked(columns: tuple[str, ...], tokenizer: Tokenizer) -> Classification:
    task = ClassificationSettings(name="t", text=columns, labels=("no", "yes"))
    return Classification(task, tiny_model("bert"), tokenizer.vocabulary, 24)


def test_questions_are_texts_pairs_or_objects(tokenizer: Tokenizer) -> None:
    single, pair = asked(("text",), tokenizer), asked(("a", "b"), tokenizer)
    lines = ["the cat", json.dumps({"text": "the cat"}), "{the cat"]
    plain, parsed, brace = (single.questions([line], tokenizer).tokens[0].tolist() for line in lines)
    assert plain == parsed != brace
    tabbed = pair.questions(["the cat\ta dog"], tokenizer)
    named = pair.questions([json.dumps({"b": "a dog", "a": "the cat"})], tokenizer)
    assert tabbed.tokens.tolist() == named.tokens.tolist() == [plain]
    assert tabbed.others.tokens.tolist() == named.others.tokens.tolist()
    with pytest.raises(DataError, match="a pair of texts was expected") as told:
        pair.questions(["the cat"], tokenizer)
    assert "A TAB B" in told.value.remedy


def test_answers_name_labels_and_probabilities(tokenizer: Tokenizer) -> None:
    task = asked(("a", "b"), tokenizer)
    learner = task.build(lambda model: backbones.build(model, tokenizer.vocabulary.size)).eval()
    text = "the cat\ta dog"
    rows = task.questions([text], tokenizer)
    (answer,) = task.predict(learner, task.collate_for_prediction(rows))
    said = task.read_out(text, rows.tokens[0], answer, tokenizer)
    assert (said.values["a"], said.values["b"]) == ("the cat", "a dog")
    assert said.values["label"] in ("no", "yes")
    assert sum(said.values["probabilities"].values()) == pytest.approx(1.0)
    assert said.lines[0].split("\t")[0] == said.values["label"]
