"""What is said of the answers to held-out examples: collapse, confusion against scikit-learn, errors, and their files."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix
from support.tiny_task import labeller, program, scorer, writer

from plmtrain.data.tables.reader import Example
from plmtrain.programs.review import Confusion, Review, Scores
from plmtrain.runs import pictures
from plmtrain.runs.held_out_files import missing_pictures, write_review

LABELS = ("class 0", "class 1", "class 2")


def examples(references: list[Any], *texts: str) -> Any:
    """Held-out examples with these right answers."""
    some = [Example(texts or ("a",), reference) for reference in references]
    return SimpleNamespace(splits={"train": some, "validation": some})


def classified(given: list[str], shares: list[float]) -> list[dict[str, Any]]:
    others = [[label for label in LABELS if label != one] for one in given]
    return [
        {"label": one, "probabilities": {one: share, **dict.fromkeys(rest, (1 - share) / 2)}}
        for one, share, rest in zip(given, shares, others, strict=True)
    ]


def test_the_confusion_is_scikit_learns_and_errors_are_the_most_confident_first() -> None:
    numbers = np.random.default_rng(0)
    right, given = (numbers.choice(LABELS[:number], 50).tolist() for number in (2, 3))
    shares = numbers.uniform(0.4, 0.99, 50).tolist()
    review = program(pairs=False).answering.review(examples(right), classified(given, shares))
    assert review.confusion.counts.tolist() == confusion_matrix(right, given, labels=LABELS).tolist()
    wrong = [(share, one, other) for share, one, other in zip(shares, right, given, strict=True) if one != other]
    assert [(one["confidence"], one["expected"], one["label"]) for one in review.errors] == sorted(
        wrong, key=lambda each: -each[0]
    )
    assert review.confusion.shares.sum(axis=1).tolist() == pytest.approx([1.0, 1.0, 0.0])
    assert not review.collapsed


@pytest.mark.parametrize(
    ("task", "right", "given", "collapsed"),
    [
        (program(pairs=False), ["class 0", "class 1"], classified(["class 1"] * 2, [0.6, 0.9]), True),
        (program(pairs=False), ["class 1", "class 1"], classified(["class 1"] * 2, [0.6, 0.9]), False),
        (program(pairs=False), ["class 0", "class 1"], classified(["class 1", "class 2"], [0.6, 0.9]), False),
        (scorer(pairs=False), [0.0, 5.0, 2.0], [{"score": 2.5}, {"score": 2.53}, {"score": 2.51}], True),
        (scorer(pairs=False), [0.0, 5.0, 2.0], [{"score": 2.5}, {"score": 2.6}, {"score": 2.51}], False),
        (scorer(pairs=False), [2.0, 2.0, 2.0], [{"score": 2.5}] * 3, False),
        (writer(), ["a", "b"], [{"prediction": "a"}] * 2, True),
        (writer(), ["a", "b"], [{"prediction": "a"}, {"prediction": "c"}], False),
    ],
)
def test_a_run_collapsed_if_all_answers_are_one_and_the_right_ones_are_not(
    task: Any, right: list[Any], given: list[dict[str, Any]], collapsed: bool
) -> None:
    assert task.answering.review(examples(right), given).collapsed is collapsed


def test_words_are_counted_each() -> None:
    held_out = examples([["O", "B-a", "I-a"], ["O", "O", "B-a"]], "x", "y", "z")
    answers = [
        {"labels": ["O", "B-a", "O"], "probabilities": [0.9, 0.8, 0.7]},
        {"labels": ["B-a", "O", "O"], "probabilities": [0.6, 0.5, 0.95]},
    ]
    review = labeller().answering.review(held_out, answers)
    assert review.confusion.counts.tolist() == [[2, 1, 0], [1, 1, 0], [1, 0, 0]]
    told = [(one["word"], one["place"], one["expected"], one["label"], one["confidence"]) for one in review.errors]
    assert told == [("z", 2, "B-a", "O", 0.95), ("z", 2, "I-a", "O", 0.7), ("x", 0, "O", "B-a", 0.6)]
    assert not review.collapsed
    alike = [{"labels": ["O"] * 3, "probabilities": [0.5] * 3}] * 2
    assert labeller().answering.review(held_out, alike).collapsed


def test_words_of_labels_are_confused_and_texts_are_not() -> None:
    held_out, answers = examples(["yes", "no  way", "yes"]), [{"prediction": text} for text in ("yes", "no way", "yes yes")]
    confusion = writer().answering.review(held_out, answers).confusion
    assert confusion.labels == ["no way", "yes", "(another text)"]
    assert confusion.counts.tolist() == [[1, 0, 0], [0, 1, 1], [0, 0, 0]]
    texts = [f"text {number}" for number in range(30)]
    assert writer().answering.review(examples(texts), [{"prediction": text} for text in texts]).confusion is None


def test_the_files_of_scores(tmp_path: Path) -> None:
    review = scorer(pairs=False).answering.review(examples([0.0, 5.0, 2.0]), [{"score": 1.0}, {"score": 2.0}, {"score": 2.25}])
    write_review(tmp_path, review, 3)
    errors = [json.loads(line) for line in (tmp_path / "errors.jsonl").read_text().splitlines()]
    assert [(one["expected"], one["score"], one["error"]) for one in errors] == [
        (5.0, 2.0, -3.0),
        (0.0, 1.0, 1.0),
        (2.0, 2.25, 0.25),
    ]
    assert not (tmp_path / "confusion.csv").exists()


def test_what_has_no_library_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "is_possible", lambda: False)
    review = Review(collapsed=False, confusion=Confusion(LABELS, np.eye(3, dtype=np.int64)), errors=[])
    write_review(tmp_path, review, 3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["confusion.csv", "errors.jsonl", "summary.json"]
    with (tmp_path / "confusion.csv").open() as file:
        assert list(csv.reader(file))[1] == ["class 0", "1", "0", "0"]
    assert missing_pictures(review) == ["a picture of the confusion matrix needs matplotlib: pip install 'plmtrain[report]'"]
    assert missing_pictures(Review(collapsed=False)) == []


@pytest.mark.parametrize("labels", [("a$b$", "_x", "긍정"), tuple(f"label {number}" for number in range(70))])
def test_pictures_are_drawn_of_any_labels(tmp_path: Path, labels: tuple[str, ...]) -> None:
    pytest.importorskip("matplotlib")
    counts = np.random.default_rng(0).integers(0, 9, (len(labels), len(labels)))
    scores = Scores(np.array([1.0, 2.0]), np.array([1.5, 2.0]))
    for path in (tmp_path / "one", tmp_path / "again"):
        path.mkdir()
        pictures.draw(Review(collapsed=False, confusion=Confusion(labels, counts), scores=scores), path)
    for name in ("confusion.png", "scores.png"):
        content = (tmp_path / "one" / name).read_bytes()
        assert content.startswith(b"\x89PNG")
        assert content == (tmp_path / "again" / name).read_bytes()


def test_scores_that_are_not_finite_have_no_picture(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    pictures.draw(Review(collapsed=False, scores=Scores(np.array([np.nan, 1.0]), np.array([0.0, 1.0]))), tmp_path)
    assert list(tmp_path.iterdir()) == []
