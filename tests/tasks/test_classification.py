"""Classification: every family's head against transformers' class, metrics against scikit-learn, and that it learns."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from sklearn import metrics
from sklearn.utils.class_weight import compute_class_weight
from support.memory_rows import VOCABULARY
from support.sentence_twin import HEADS, inputs_of, randomise, twin
from support.tiny_task import MODELS, examples, program, tiny_model

from plmtrain import backbones
from plmtrain.data.tables.labelled import gather, rows_of_files
from plmtrain.data.tables.reader import Example
from plmtrain.data.tables.readers import reader_of
from plmtrain.errors import DataError, SettingsError
from plmtrain.keyed_random import Keys
from plmtrain.programs.row_tasks import RowLearner
from plmtrain.settings.data import TableSettings
from plmtrain.settings.tasks.classification import ClassificationSettings
from plmtrain.settings.tokenizer import TokenizerSettings
from plmtrain.tasks.classification import Classification
from plmtrain.text.readers import Skips
from plmtrain.text.tokenizer import Tokenizer
from plmtrain.text.tokenizer_training import train

CLASSES = 3
torch.set_num_threads(1)


def keys(count: int) -> Keys:
    return Keys(0, np.zeros(count, np.int64), np.arange(count))


def learner_of(task: Classification) -> RowLearner:
    torch.manual_seed(0)
    return task.build(lambda model: backbones.build(model, VOCABULARY.size))


@pytest.mark.parametrize("pairs", [False, True])
@pytest.mark.parametrize("family", MODELS)
def test_logits_are_those_of_transformers(family: str, pairs: bool) -> None:
    task = program(tiny_model(family), pairs=pairs, length=24)
    learner = learner_of(task).eval()
    randomise(learner)
    rows = examples(6, task.row_shape(24).length, pairs=pairs)
    batch = task.collate(rows.fetch(np.arange(6)), keys(6))
    other = twin(family, learner, num_labels=CLASSES)
    with torch.no_grad():
        expected = other(**inputs_of(family, batch)).logits
        torch.testing.assert_close(learner.scores(batch.inputs), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("family", MODELS)
def test_the_learner_is_one_model_whose_pooler_is_pretrained_where_the_family_has_one(family: str) -> None:
    task = program(tiny_model(family), length=24)
    learner = learner_of(task)
    assert learner.models() == {"model": [learner.backbone, learner.head]}
    assert learner.token_head is None
    assert learner.pooler_layer is (learner.head.dense if f"{family}.pooler" in (HEADS[family][1] or "") else None)
    batch = task.collate(examples(2, task.row_shape(24).length).fetch(np.arange(2)), keys(2))
    with pytest.raises(SettingsError, match="no language-model head"):
        learner.token_scores(batch.inputs)


@pytest.mark.parametrize("family", MODELS)
def test_every_parameter_gets_a_gradient(family: str) -> None:
    task = program(tiny_model(family), length=24)
    learner = learner_of(task).train()
    batch = task.collate(examples(8, task.row_shape(24).length).fetch(np.arange(8)), keys(8))
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
    batch = task.collate(examples(8, task.row_shape(24).length).fetch(np.arange(8)), keys(8))
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
    answers = task.answering.predict(learner.eval(), batch)
    assert [answer["label"] for answer in answers] == [f"class {label}" for label in batch.targets["labels"].tolist()]


@pytest.mark.parametrize("family", MODELS)
def test_neither_padding_nor_company_changes_an_answer(family: str) -> None:
    task = program(tiny_model(family), length=24)
    learner = learner_of(task).eval()
    randomise(learner)
    rows = examples(6, task.row_shape(24).length)
    together = task.answering.predict(learner, task.collate(rows.fetch(np.arange(6)), keys(6)))
    for index, answer in enumerate(together):
        (alone,) = task.answering.predict(learner, task.collate(rows.fetch(np.array([index])), keys(1)))
        assert list(alone["probabilities"].values()) == pytest.approx(list(answer["probabilities"].values()), abs=1e-5)


def test_rows_of_other_lengths_are_declared() -> None:
    """A kernel for each length would soon be too many: torch gives up after eight, and which ones depends on the order."""
    task = program(length=30)
    rows = examples(400, task.row_shape(30).length)
    one_by_one = [task.collate(rows.fetch(np.array([index])), keys(1)) for index in range(400)]
    assert len({batch.inputs.ids.shape for batch in one_by_one}) > 1
    assert task.ragged


def test_losses_are_sums_and_counts_are_confusions() -> None:
    task = program()
    learner = learner_of(task).eval()
    batch = task.collate(examples(12, task.row_shape(14).length).fetch(np.arange(12)), keys(12))
    terms, _ = task.loss(learner, batch, {})
    logits = learner.scores(batch.inputs)
    labels = batch.targets["labels"]
    expected = torch.nn.functional.cross_entropy(logits, labels, reduction="sum")
    assert terms["classification"].total.item() == pytest.approx(expected.item(), rel=1e-5)
    assert terms["classification"].normaliser == 12
    confusion = terms["classification"].counts["confusion"].numpy()
    assert confusion.tolist() == metrics.confusion_matrix(labels, logits.argmax(-1), labels=range(CLASSES)).tolist()


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weights", [(), (0.5, 2.0, 3.0)])
def test_the_loss_of_training_is_weighted_and_smoothed_and_that_of_validation_is_not(
    weights: tuple[float, ...], smoothing: float
) -> None:
    """Against torch: the mean over rows, each times the weight of its label, divided by these weights."""
    task = program(dropout=0.0, class_weights=weights, label_smoothing=smoothing)
    learner = learner_of(task).train()
    for module in learner.modules():
        module.training = module is learner  # in training, without dropout
    batch = task.collate(examples(12, task.row_shape(14).length).fetch(np.arange(12)), keys(12))
    labels = batch.targets["labels"]
    assert len(labels.unique()) == 3
    logits = learner.scores(batch.inputs)
    each = torch.nn.functional.cross_entropy(logits, labels, reduction="none", label_smoothing=smoothing)
    weight = torch.tensor(weights)[labels] if weights else torch.ones(12)
    (term,) = task.loss(learner, batch, {})[0].values()
    assert term.total.item() / term.normaliser == pytest.approx((weight * each).sum().item() / weight.sum().item(), rel=1e-5)
    if weights and not smoothing:
        of_torch = torch.nn.functional.cross_entropy(logits, labels, weight=torch.tensor(weights))
        assert term.total.item() / term.normaliser == pytest.approx(of_torch.item(), rel=1e-5)
    (term,) = task.loss(learner.eval(), batch, {})[0].values()
    plain = torch.nn.functional.cross_entropy(logits, labels)
    assert term.total.item() / term.normaliser == pytest.approx(plain.item(), rel=1e-5)


def test_balanced_weights_are_scikit_learns() -> None:
    labels = ["no"] * 7 + ["yes"] * 2 + ["maybe"] * 3
    task = ClassificationSettings(name="t", text=("text",), class_weights="balanced")
    examples = [Example((str(n),), label) for n, label in enumerate(labels)]
    settled = reader_of(task).settled(examples).counted(examples).task
    assert settled.labels == ("maybe", "no", "yes")
    expected = compute_class_weight("balanced", classes=np.array(settled.labels), y=np.array(labels))
    assert settled.weights == pytest.approx(expected.tolist())
    given = task.model_copy(update={"label_counts": (1, 1, 2)})
    same = [Example(("a",), label) for label in labels]
    assert reader_of(given).settled(same).counted(same).task.weights == pytest.approx((4 / 3, 4 / 3, 2 / 3))


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"class_weights": (1.0, 2.0)}, "there are 2 weights of labels, and 3 labels"),
        ({"class_weights": "balanced", "labels": ("a", "b", "c", "d")}, "the label 'd' does not occur"),
    ],
)
def test_labels_without_a_weight_are_refused(settings: dict[str, object], problem: str) -> None:
    task = ClassificationSettings(name="t", text=("text",), **settings)
    examples = [Example((label,), label) for label in "abc"]
    reader = reader_of(task).settled(examples)
    with pytest.raises(DataError, match=problem):
        reader.counted(examples)


def test_weights_count_what_is_trained_on(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("text\tlabel\n" + "".join(f"text {n}\t{'x' if n % 4 else 'y'}\n" for n in range(40)))
    data = TableSettings(files=(str(tmp_path / "a.tsv"),), validation_fraction=0.25)
    reader = reader_of(ClassificationSettings(name="t", text=("text",), class_weights="balanced"))
    examples = gather(reader, data, rows_of_files(reader, data, Skips()), Skips())
    train = Counter(example.reference for example in examples.splits["train"])
    assert len(examples.splits["validation"]) == 10
    assert examples.reader.task.label_counts == (train["x"], train["y"])


def test_settings_of_weights_that_disagree_are_refused() -> None:
    for wrong in (
        {"class_weights": (1.0, 2.0), "labels": ("a", "b", "c")},
        {"label_counts": (1, 2)},
        {"class_weights": (1.0, 0.0)},
    ):
        with pytest.raises(ValidationError):
            ClassificationSettings(name="t", text=("text",), **wrong)


def test_the_first_metric_chooses() -> None:
    task = program()
    assert (task.selection.measure, task.selection.higher, task.selection.decides) == ("accuracy", True, True)
    assert set(task.measures({"classification/confusion": np.eye(CLASSES)}, None).values()) == {1.0}


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
    plain, parsed, brace = (single.answering.questions([line], tokenizer).tokens[0].tolist() for line in lines)
    assert plain == parsed != brace
    tabbed = pair.answering.questions(["the cat\ta dog"], tokenizer)
    named = pair.answering.questions([json.dumps({"b": "a dog", "a": "the cat"})], tokenizer)
    assert tabbed.tokens.tolist() == named.tokens.tolist() == [plain]
    assert tabbed.others.tokens.tolist() == named.others.tokens.tolist()
    with pytest.raises(DataError, match="a pair of texts was expected") as told:
        pair.answering.questions(["the cat"], tokenizer)
    assert "A TAB B" in told.value.remedy


def test_answers_name_labels_and_probabilities(tokenizer: Tokenizer) -> None:
    task = asked(("a", "b"), tokenizer)
    learner = task.build(lambda model: backbones.build(model, tokenizer.vocabulary.size)).eval()
    text = "the cat\ta dog"
    rows = task.answering.questions([text], tokenizer)
    (answer,) = task.answering.predict(learner, task.answering.collate(rows))
    said = task.answering.read_out(text, rows.tokens[0], answer, tokenizer)
    assert (said.values["a"], said.values["b"]) == ("the cat", "a dog")
    assert said.values["label"] in ("no", "yes")
    assert sum(said.values["probabilities"].values()) == pytest.approx(1.0)
    assert said.lines[0].split("\t")[0] == said.values["label"]
