"""Labels and scores that a decoder writes: what it reads and learns, how answers are understood, and that it learns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn import metrics
from support.tiny_task import tiny_model, worded_examples, worder

from plmtrain import backbones
from plmtrain.data.loading.order import plan_phases
from plmtrain.data.rows.rows import Rows
from plmtrain.errors import DataError, SettingsErrors
from plmtrain.families import MODEL_FAMILIES
from plmtrain.keyed_random import Keys
from plmtrain.runs.command_settings import settings_for
from plmtrain.runs.labelled_examples import LabelledExamples
from plmtrain.runs.learners import build_learner, embedded_tokens
from plmtrain.settings.run import FinetuneSettings
from plmtrain.settings.tasks.classification import ClassificationSettings
from plmtrain.settings.tasks.regression import RegressionSettings
from plmtrain.tasks.classification import Classification, WrittenClassification
from plmtrain.tasks.regression import WrittenRegression
from plmtrain.training.evaluation import evaluate
from plmtrain.training.group import Group
from plmtrain.training.step import Step

torch.set_num_threads(1)
T5 = (
    "model=t5_small model.layers=1 model.width=16 model.heads=2 model.head_width=8 model.feed_forward=32 "
    "tokenizer.vocab_size=300 trainer.sequence_length=40 trainer.batch_size=4 trainer.steps=2 schedule.warmup=0 "
    "trainer.precision=fp32"
).split()


def material(folder: Path, table: str, *overrides: str) -> LabelledExamples:
    """The examples of a run of T5 on a table, with a tokenizer that was trained on them."""
    (folder / "train.tsv").write_text(table)
    (folder / "dev.tsv").write_text(table)
    files = [f"data.files=[{folder}/train.tsv]", f"data.validation_files=[{folder}/dev.tsv]", f"data.prepared_dir={folder}/p"]
    settings = settings_for("finetune", [*T5, *files, *overrides])
    assert isinstance(settings, FinetuneSettings)
    return LabelledExamples.of(settings, lambda update: None)


def read_and_written(given: LabelledExamples) -> list[tuple[str, str]]:
    """The texts that the encoder reads and the decoder learns, end marks left out."""
    (phase,) = plan_phases(given.settings.trainer)
    (program,) = given.programs([phase])
    rows, decode = given.rows("train", program, phase), given.tokenizer.decode
    count = len(rows)
    batch = program.collate(rows.fetch(np.arange(count)), Keys(0, np.zeros(count, np.int64), np.arange(count)))
    owners = batch.targets["places"] // batch.inputs.decoder.ids.shape[1]
    eos = given.tokenizer.vocabulary["eos"]
    texts = []
    for row in range(count):
        label = batch.targets["labels"][owners == row].tolist()
        own = batch.inputs.ids[row][batch.inputs.layout.tokens[row]].tolist()
        assert label[-1] == own[-1] == eos
        texts.append((decode(own[:-1]), decode(label[:-1])))
    return texts


def test_rows_and_words_are_those_of_the_settings(tmp_path: Path) -> None:
    table = "text\tlabel\n" + "so good\t1\nso bad\t0\n" * 3
    shown = read_and_written(material(tmp_path, table, "task=classification"))
    assert shown[:2] == [("classification text: so good", "1"), ("classification text: so bad", "0")]
    words = ["task.template='is it good? {text}'", "task.label_words={0: not a bit, 1: yes}"]
    given = material(tmp_path, table, "task=classification", *words)
    assert given.settings.task.labels == ("0", "1")
    assert read_and_written(given)[:2] == [("is it good? so good", "yes"), ("is it good? so bad", "not a bit")]
    (program,) = given.programs(plan_phases(given.settings.trainer))
    written = given.tokenizer.encode(["not a bit", "yes"])
    assert all(len(ids) < program.target_length for ids, _ in written)
    scores = "s1\ts2\tscore\n" + "a cat\ta dog\t2.57\nred\tgreen\t0\nblue\tblue\t5\n" * 2
    given = material(tmp_path, scores, "task=regression", "task.text=[s1,s2]", "task.label=score", "task.name=stsb")
    assert read_and_written(given)[:2] == [("stsb s1: a cat s2: a dog", "2.6"), ("stsb s1: red s2: green", "0.0")]


def test_scores_are_rounded_as_in_the_paper() -> None:
    """Raffel et al. 2020, section 2.4: 21 classes from 1 to 5, such as 2.57 as 2.6; other steps have their own decimals."""
    task = RegressionSettings(name="stsb", text=("a", "b"))
    assert task.word(2.57) == "2.6"
    grid = [f"{number / 5:.1f}" for number in range(5, 26)]
    assert sorted({task.word(1 + step / 1000) for step in range(4001)}) == grid
    for step in range(4001):
        assert abs(float(task.word(1 + step / 1000)) - 1 - step / 1000) <= 0.1 + 1e-9
    assert task.word(-0.01) == "0.0"
    for rounding, score, word in ((0.25, 3.2, "3.25"), (1, 3.2, "3"), (10, 37, "40"), (0.001, 1 / 3, "0.333")):
        assert RegressionSettings(name="x", text=("a",), rounding=rounding).word(score) == word


@pytest.mark.parametrize("classes", [2, 4])
def test_an_answer_that_is_no_label_is_wrong_and_counted(classes: int) -> None:
    """Of two labels it counts as the other one, as in the authors' code; of more scikit-learn sees a class of its own."""
    task = worder(classes=classes).answering
    labels = task.settings.labels
    random = np.random.default_rng(classes)
    right, given = random.integers(0, classes, 60), random.integers(-1, classes, 60)
    given[:30] = right[:30]
    predictions = [task.said("nothing" if answer < 0 else f" {labels[answer]}\n") for answer in given]
    scores = task.score(predictions, [labels[label] for label in right])
    taken = np.where(given < 0, 1 - right, given) if classes == 2 else given
    average = "binary" if classes == 2 else "macro"
    assert scores["unknown_answers"] == np.sum(given < 0) > 0
    assert scores["accuracy"] == pytest.approx(np.mean(given == right))
    assert scores["f1"] == pytest.approx(metrics.f1_score(right, taken, average=average, labels=range(classes)))
    assert scores["mcc"] == pytest.approx(metrics.matthews_corrcoef(right, taken))
    assert {answer["label"] for answer in predictions} <= {*labels, None}


def test_an_answer_that_is_no_number_is_as_wrong_as_can_be() -> None:
    program = WrittenRegression(
        RegressionSettings(name="x", text=("a",), answers="words"), worder().model, worder().vocabulary, 14
    )
    said = [program.answering.said(text) for text in ("1.0", "nan", " 4.2 ", "", "0,5", "7")]
    assert [answer["score"] for answer in said] == [1.0, None, 4.2, None, None, 7.0]
    right = [1.0, 2.0, 4.0, 5.0, 3.2, 1.5]
    scores = program.answering.score(said, right)
    wrong = [1.0, 5.0, 4.2, 1.0, 1.0, 7.0]
    assert scores["unknown_answers"] == 3
    assert scores["mse"] == pytest.approx(np.mean((np.array(wrong) - right) ** 2))
    assert scores["pearson"] == pytest.approx(np.corrcoef(wrong, right)[0, 1])


def test_a_review_has_the_largest_errors_first(tmp_path: Path) -> None:
    """And an answer that is no number has an error, too."""
    given = material(tmp_path, "text\tlabel\na\t1\nb\t2\nc\t4\n", "task=regression")
    (program,) = given.programs(plan_phases(given.settings.trainer))
    review = program.answering.review(given.examples, [program.answering.said(text) for text in ("1.4", "maybe", "3")])
    assert review.errors is not None
    assert review.scores is not None
    told = [(error["text"], error["expected"], error["score"], error["error"]) for error in review.errors]
    assert told == [("b", 2, None, 2), ("c", 4, 3, -1), ("a", 1, 1.4, pytest.approx(0.4))]
    assert review.scores.given.tolist() == [1.4, 4, 3]
    same = [program.answering.said("1.4")] * 3
    assert (review.collapsed, program.answering.review(given.examples, same).collapsed) == (False, True)


def test_it_learns_eight_rows_and_answers_them() -> None:
    task = worder(tiny_model("bart", "model.dropout=0", "model.attention_dropout=0", "model.initial_std=0.1"))
    torch.manual_seed(0)
    learner = task.build(lambda model: backbones.build(model, task.vocabulary.size)).train()
    rows = worded_examples(8, task.row_shape(14).length)
    batch = task.collate(rows.fetch(np.arange(8)), Keys(0, np.zeros(8, np.int64), np.arange(8)))
    optimizer = torch.optim.Adam(learner.parameters(), lr=0.01)
    for turn in range(150):
        (term,) = task.loss(learner, batch, {})[0].values()
        (term.total / term.normaliser).backward()
        assert turn or all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in learner.parameters())
        optimizer.step()
        optimizer.zero_grad()
        if term.total.item() / term.normaliser < 0.05:
            break
    answers = task.answering.predict(learner.eval(), task.answering.collate(rows.fetch(np.arange(8))))
    assert [answer["label"] for answer in answers] == list(rows.references)
    assert task.answering.score(answers, rows.references)["accuracy"] == 1


def test_a_validation_writes_and_a_question_has_the_same_answer(tmp_path: Path) -> None:
    table = "text\tlabel\n" + "so good\tyes\nso bad\tno\n" * 3
    given = material(tmp_path, table, "task=classification", "optimizer.lr=0.01")
    (phase,) = plan_phases(given.settings.trainer)
    (program,) = given.programs([phase])
    learner = build_learner(given.settings, program, embedded_tokens(given.settings, given.tokenizer))
    rows = given.rows("validation", program, phase)
    values = evaluate(Step(learner, "fp32", None), program, rows, Group("cpu", 60, 1), batch_size=4)
    assert values is not None
    answering = program.answering
    lines = ["so good", '{"text": "so bad"}']
    asked = answering.questions(lines, given.tokenizer)
    assert isinstance(asked, Rows)
    held_out = rows.fetch(np.arange(2))
    assert (asked.tokens[:, : held_out.lengths.max()] == held_out.tokens[:, : asked.lengths.max()]).all()
    answers = answering.predict(learner.eval(), answering.collate(asked))
    expected = sum(answer["label"] == label for answer, label in zip(answers, ("yes", "no"), strict=True)) / 2
    assert values["accuracy"] == expected
    assert values["unknown_answers"] == 3 * sum(answer["label"] is None for answer in answers)
    told = answering.read_out(lines[1], asked.tokens[1], answers[1], given.tokenizer)
    assert told.values == {"text": "so bad", "label": answers[1]["label"], "written": answers[1]["written"]}
    assert answering.appended(told) == {"prediction": answers[1]["label"], "written": answers[1]["written"]}
    every = answering.predict(learner, answering.collate(rows.fetch(np.arange(6))))
    parts = answering.closing(given.examples, every, 0.5)
    review = answering.review(given.examples, every)
    expected = [[sum(one["label"] == label for one in every[first::2]) for label in ("no", "yes")] for first in (1, 0)]
    assert review.confusion is not None
    assert review.confusion.counts[:2, :2].tolist() == expected
    assert review.confusion.counts[:, 2:].sum() == values["unknown_answers"]
    assert f"{int(values['unknown_answers'])} of 6 answers are no label and count as wrong" in " ".join(map(str, parts))


def test_families_answer_in_their_own_way() -> None:
    """By a head where one was published, else a decoder writes; BART has both ways."""
    task = ClassificationSettings(name="x", text=("a",), labels=("b", "c"))
    ways = {name: task.of_family(family).has_head for name, family in MODEL_FAMILIES.items() if name in task.families}
    assert {name for name, has_head in ways.items() if not has_head} == {"t5", "mass", "mbart"}
    for overrides, made in (((), Classification), (("task.answers=words",), WrittenClassification)):
        settings = settings_for("finetune", ["model=bart", "data.files=[a.tsv]", "task.labels=[b,c]", *overrides])
        assert made.is_for(settings.task)


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        ("model=bert task.answers=words", "has no decoder that would write words"),
        ("model=t5_small task.answers=head", "have no head for sentences"),
        ("model=t5_small task.dropout=0.3", "task.dropout has no effect"),
        ("model=t5_small task.multi_label=true", "task.multi_label has no effect: model=t5_small answers .* in words"),
        ("model=t5_small task.windows=mean", "task.windows has no effect"),
        ("model=t5_small task.class_weights=balanced", "task.class_weights has no effect"),
        ("model=t5_small task.label_smoothing=0.1", "task.label_smoothing has no effect"),
        ("model=t5_small task.features=mix", "task.features has no effect"),
        ("model=bert task.template='{text}'", "task.template has no effect"),
        ("model=bart task.label_words={a:b}", "task.label_words has no effect"),
        ("model=bert task=regression task.rounding=1", "task.rounding has no effect"),
        ("model=t5_small task.labels=[a,b] task.label_words={c:d}", "names 'c', which is no label"),
        ("model=t5_small task.labels=[a,b] task.label_words={a:b}", "one word, 'b', for the labels a and b"),
        ("model=t5_small task.template=x", r"lacks \{text\}, a column of text"),
        ("model=mass model.languages=[en,de]", "has languages, and task=classification says none"),
    ],
)
def test_settings_without_a_meaning_are_refused(chosen: str, words: str) -> None:
    with pytest.raises(SettingsErrors, match=words):
        settings_for("finetune", ["data.files=[a.tsv]", *chosen.split()])


def test_words_of_labels_that_the_data_lack_are_refused(tmp_path: Path) -> None:
    table: Any = "text\tlabel\n" + "so good\tyes\nso bad\tno\n" * 3
    with pytest.raises(DataError, match="'maybe', which is no label"):
        material(tmp_path, table, "task=classification", "task.label_words={maybe: perhaps}")
    lower = table.replace("yes", "Yes"), "task=classification", "tokenizer.lowercase=true"
    with pytest.raises(DataError, match="turns 'Yes', which is to be written for label 'Yes', into 'yes'"):
        material(tmp_path, *lower)
    assert material(tmp_path, *lower, "task.label_words={Yes: fine}").settings.task.labels == ("Yes", "no")
