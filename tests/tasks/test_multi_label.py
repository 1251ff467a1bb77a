"""Several labels a text: transformers' loss, scikit-learn's metrics, and the ways in which files give labels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn import metrics
from support.memory_rows import VOCABULARY
from support.sentence_twin import inputs_of, randomise, twin
from support.tiny_task import labelled_with_several, several_examples, tiny_model

from plmtrain import backbones
from plmtrain.data.tables.readers import reader_of
from plmtrain.data.tables.table_files import Row
from plmtrain.errors import DataError
from plmtrain.keyed_random import Keys
from plmtrain.metrics.classification import measure_several
from plmtrain.settings.tasks.classification import ClassificationSettings

torch.set_num_threads(1)
KEYS = Keys(0, np.zeros(12, np.int64), np.arange(12))


@pytest.mark.parametrize("family", ["bert", "gpt2"])
def test_the_loss_is_that_of_transformers_and_the_counts_are_scikit_learns(family: str) -> None:
    task = labelled_with_several(tiny_model(family, "model.positions=48"), threshold=0.4, length=48)
    task.lm_weight = 0.0
    learner = task.build(lambda model: backbones.build(model, VOCABULARY.size)).eval()
    randomise(learner)
    batch = task.collate(several_examples(12, 0).fetch(np.arange(12)), KEYS)
    other = twin(family, learner, num_labels=3, problem_type="multi_label_classification")
    with torch.no_grad():
        expected = other(**inputs_of(family, batch), labels=batch.targets["labels"])
        term = task.loss(learner, batch, {})[0]["classification"]
    assert term.total.item() / term.normaliser == pytest.approx(expected.loss.item(), rel=1e-5)
    right = batch.targets["labels"].int().numpy()
    given = (expected.logits.sigmoid() >= 0.4).int().numpy()
    assert term.counts["answers"].tolist() == metrics.multilabel_confusion_matrix(right, given).tolist()
    measured = task.measures({f"classification/{name}": count.numpy() for name, count in term.counts.items()}, None)
    assert measured == pytest.approx(
        {
            "micro_f1": metrics.f1_score(right, given, average="micro", zero_division=0),
            "macro_f1": metrics.f1_score(right, given, average="macro", zero_division=0),
            "subset_accuracy": metrics.accuracy_score(right, given),
        }
    )
    names = task.settings.labels
    answers = task.answering.predict(learner, batch)
    assert [[name in answer["labels"] for name in names] for answer in answers] == given.astype(bool).tolist()


@pytest.mark.parametrize(
    ("right", "given"),
    [([[0, 0], [0, 0]], [[0, 0], [0, 0]]), ([[1, 0], [1, 0]], [[0, 1], [0, 0]]), ([[1, 1], [1, 0]], [[1, 1], [1, 0]])],
    ids=["no label at all", "a label never right", "all right"],
)
def test_metrics_of_odd_answers_are_scikit_learns(right: list[list[int]], given: list[list[int]]) -> None:
    table = metrics.multilabel_confusion_matrix(right, given).astype(np.float64)
    exact = np.array([np.all(np.array(right) == given, axis=1).sum(), len(right)], np.float64)
    for name, average in (("micro_f1", "micro"), ("macro_f1", "macro")):
        assert measure_several(name, table, exact) == metrics.f1_score(right, given, average=average, zero_division=0)
    assert measure_several("subset_accuracy", table, exact) == metrics.accuracy_score(right, given)


def several(**changes: Any) -> ClassificationSettings:
    return ClassificationSettings(name="t", text=("text",), multi_label=True, **changes)


@pytest.mark.parametrize(
    ("changes", "cells", "labels"),
    [
        ({}, {"label": ["b", "a", "b"]}, ("a", "b")),
        ({}, {"label": [3, "a"]}, ("3", "a")),
        ({}, {"label": '["a, b", "c"]'}, ("a, b", "c")),
        ({}, {"label": "b, a"}, ("a", "b")),
        ({"label_separator": "|"}, {"label": "b|a,c"}, ("a,c", "b")),
        ({}, {"label": ""}, ()),
        ({}, {"label": []}, ()),
        ({"label_columns": ("x", "y", "z")}, {"x": "1", "y": 0, "z": True}, ("x", "z")),
        ({"labels": ("b", "a")}, {"label": "a,b"}, ("b", "a")),
    ],
)
def test_labels_are_read_as_they_are_given(changes: dict[str, Any], cells: dict[str, Any], labels: tuple[str, ...]) -> None:
    reader = reader_of(several(**changes))
    assert reader.example(Row("x.tsv:2", {"text": "a text", **cells})).reference == labels


@pytest.mark.parametrize(
    ("changes", "cells", "what"),
    [
        ({}, {"label": None}, "column 'label' should be a label, but is null"),
        ({}, {"label": ["a", ["b"]]}, "column 'label' should be a label, but is a list"),
        ({"labels": ("a", "b")}, {"label": "a,c"}, "the label 'c' is none of training's"),
        ({"label_columns": ("x", "y")}, {"x": "1", "y": "2"}, "column 'y' should be 0 or 1, but is '2'"),
    ],
)
def test_what_are_no_labels_is_told_with_its_line(changes: dict[str, Any], cells: dict[str, Any], what: str) -> None:
    with pytest.raises(DataError) as told:
        reader_of(several(**changes)).example(Row("x.tsv:2", {"text": "a text", **cells}))
    assert (told.value.what, told.value.where) == (what, "x.tsv:2")


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        (
            {"multi_label": True, "metrics": ["accuracy"]},
            "metrics has accuracy, and with several labels a text there are micro_f1",
        ),
        ({"metrics": ["macro_f1"]}, "metrics has macro_f1, and with one label a text there are accuracy"),
        ({"threshold": 0.3}, "threshold is of several labels a text"),
        ({"label_columns": ["a", "b"]}, "label_columns is of several labels a text"),
        ({"multi_label": True, "label_columns": ["a", "b"], "labels": ["b", "a"]}, "label_columns are the labels"),
        ({"text": ["a", "b"], "windows": "mean"}, "windows are of one text"),
    ],
)
def test_settings_that_have_no_meaning_are_refused(settings: dict[str, Any], what: str) -> None:
    with pytest.raises(ValueError, match=what):
        ClassificationSettings.model_validate({"name": "t", "text": ["text"], **settings})


def test_the_usual_metrics_are_those_of_the_kind_of_labels() -> None:
    assert ClassificationSettings(name="t", text=("text",)).metrics == ("accuracy", "f1")
    assert several().metrics == ("micro_f1", "macro_f1", "subset_accuracy")
    assert several(label_columns=("x", "y")).labels == ("x", "y")


def test_a_run_gives_several_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """From a table with a column for each label to the exported folder and its own answers."""
    import transformers

    from plmtrain import cli

    monkeypatch.chdir(tmp_path)
    rows = [(number % 2, number % 3 == 0) for number in range(60)]
    lines = [
        f"{' '.join(['red'] * red + ['big'] * big + ['thing'])} {number}\t{red}\t{int(big)}"
        for number, (red, big) in enumerate(rows)
    ]
    Path("train.tsv").write_text("\n".join(["text\tis_red\tis_big", *lines]))
    words = "task=classification task.multi_label=true task.label_columns=[is_red,is_big] data.files=[train.tsv] name=tiny"
    sizes = "model=bert size=tiny model.layers=1 model.width=16 model.heads=2 model.feed_forward=32 tokenizer.vocab_size=80"
    assert (
        cli.main(["finetune", *words.split(), *sizes.split(), "trainer.epochs=1", "trainer.batch_size=8", "task.windows=mean"])
        == 0
    )
    assert "the commonest answer of training alone" in " ".join(capsys.readouterr().out.split())
    asked = ["red thing", "big red thing " * 40]
    assert cli.main(["predict", "runs/tiny", "--json", *asked]) == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert all(
        answer["labels"] == [name for name, share in answer["probabilities"].items() if share >= 0.5] for answer in answers
    )
    assert cli.main(["export", "runs/tiny", "out"]) == 0
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained("out").eval()
    assert theirs.config.problem_type == "multi_label_classification"
    read = transformers.AutoTokenizer.from_pretrained("out")(asked[0], return_tensors="pt")
    expected = theirs(**read).logits.sigmoid()[0].tolist()
    assert list(answers[0]["probabilities"].values()) == pytest.approx(expected, abs=1e-5)
    Path("out/plmtrain.json").unlink()  # a stranger's folder does not have it
    assert cli.main(["import", "out", "again", "--texts", "text"]) == 0
    for folder in ("again", "out"):
        capsys.readouterr()
        assert cli.main(["predict", folder, "--json", asked[0]]) == (0 if folder == "again" else 2)
    capsys.readouterr()
    assert cli.main(["predict", "again", "--json", asked[0]]) == 0
    assert json.loads(capsys.readouterr().out)["probabilities"] == pytest.approx(answers[0]["probabilities"], abs=1e-5)
