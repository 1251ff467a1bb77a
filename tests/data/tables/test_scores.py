"""Tables of scored texts: numbers of every spelling, bounds, and what is no score or no label."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plmtrain.data.tables.labelled import Examples, gather, rows_of_files
from plmtrain.data.tables.readers import reader_of
from plmtrain.data.tables.table_files import Row
from plmtrain.errors import DataError
from plmtrain.runs.labelled_examples import LabelledExamples
from plmtrain.settings.data import TableSettings
from plmtrain.settings.tasks.base import TaskSettings
from plmtrain.settings.tasks.classification import ClassificationSettings
from plmtrain.settings.tasks.regression import RegressionSettings
from plmtrain.settings.tasks.token_labels import TokenLabelsSettings
from plmtrain.text.readers import Skips

TASK = RegressionSettings(name="t", text=("text",), label="score")


def examples(*paths: Path, task: TaskSettings = TASK, **data: object) -> Examples:
    settings = TableSettings(files=(str(paths[0]),), validation_files=tuple(map(str, paths[1:])), **data)
    reader, skips = reader_of(task), Skips()
    return gather(reader, settings, rows_of_files(reader, settings, skips), skips)


def write(path: Path, scores: list[object]) -> Path:
    path.write_text("text\tscore\n" + "".join(f"text {number}\t{score}\n" for number, score in enumerate(scores)))
    return path


@given(st.floats(allow_nan=False, allow_infinity=False), st.integers(-(10**9), 10**9))
def test_numbers_are_read_as_they_are_written(number: float, whole: int) -> None:
    for value, expected in (
        (repr(number), number),
        (f" {number} ", number),
        (number, number),
        (str(whole), whole),
        (whole, whole),
    ):
        assert Row("here:1", {"score": value}).number("score") == expected


@pytest.mark.parametrize(
    ("value", "actual"),
    [
        ("", "empty"),
        ("good", "'good'"),
        ("3,5", "'3,5'"),
        ("1_0", "'1_0'"),
        ("nan", "'nan'"),
        ("inf", "'inf'"),
        ("1e999", "'1e999'"),
        ("٣", "'٣'"),
        (math.nan, "not finite"),
        (10**400, "not finite"),
        (True, "true or false"),
        (None, "null"),
        ([1], "a list"),
    ],
)
def test_what_is_no_number_is_told(value: object, actual: str) -> None:
    with pytest.raises(DataError) as told:
        Row("a.tsv:7", {"score": value}).number("score")
    assert told.value.what == f"column 'score' should be a number, but is {actual}"
    assert told.value.where == "a.tsv:7"


def test_scores_are_read_and_described(tmp_path: Path) -> None:
    found = examples(write(tmp_path / "a.tsv", ["5.000", "3.8", "0", "1e0"]), write(tmp_path / "b.tsv", ["2.5", "7"]))
    assert [example.reference for example in found.splits["train"]] == [5.0, 3.8, 0.0, 1.0]
    assert found.reader.opening(found.splits) == "scores: 0 to 5, mean 2.450, standard deviation 2.027"
    assert json.loads(json.dumps(found.reader.facts(found.splits)))["scores"]["validation"]["maximum"] == 7.0
    (finding,) = found.reader.findings(found.splits)
    assert finding.what == "1 of 2 held-out scores are outside the range of the training ones"


def test_one_spelling_of_a_number_is_another_ones_equal(tmp_path: Path) -> None:
    digests = [
        examples(path, path).digest()
        for path in (
            write(tmp_path / f"{name}.tsv", scores) for name, scores in {"a": ["5", 1], "b": ["5.000", "1."], "c": [5, 2]}.items()
        )
    ]
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize(
    ("score", "changes", "what", "remedy"),
    [
        ("-0.1", {"minimum": 0.0}, "the score -0.1 in column 'score' is below task.minimum=0", "data.on_bad=skip"),
        ("5.5", {"maximum": 5.0}, "the score 5.5 in column 'score' is above task.maximum=5", "data.on_bad=skip"),
        ("good", {}, "column 'score' should be a number, but is 'good'", "task=classification"),
    ],
)
def test_what_is_no_score_is_told_with_its_line(
    tmp_path: Path, score: str, changes: dict[str, float], what: str, remedy: str
) -> None:
    path, task = write(tmp_path / "a.tsv", ["1", score, "2"]), TASK.model_copy(update=changes)
    with pytest.raises(DataError) as told:
        examples(path, task=task)
    assert (told.value.what, told.value.where) == (what, f"{path}:3")
    assert remedy in told.value.remedy
    skipped = examples(path, path, task=task, on_bad="skip")
    assert [example.reference for example in skipped.splits["train"]] == [1.0, 2.0]
    assert skipped.skips.count == 2  # twice read


def test_equal_scores_teach_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tsv", [3, 3.0, "3.00"])
    with pytest.raises(DataError, match="all 3 training examples have the same score, 3"):
        examples(path, path)


def test_bounds_are_in_order() -> None:
    with pytest.raises(ValueError, match=r"minimum \(5\) must be below maximum \(5\)"):
        RegressionSettings(name="t", text=("text",), minimum=5, maximum=5)


def test_scores_that_are_taken_for_labels_are_recognised(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tsv", [f"{number / 4:.3f}" for number in range(20)])
    task = ClassificationSettings(name="t", text=("text",), label="score")
    with pytest.raises(DataError, match=r"20 different labels, all of them numbers .* these look like scores") as told:
        examples(path, task=task)
    assert told.value.where == "task.label=score"
    assert "task=regression" in told.value.remedy
    named = task.model_copy(update={"labels": tuple(f"{number / 4:.3f}" for number in range(20))})
    assert len(examples(path, path, task=named).splits["train"]) == 20
    lines = tmp_path / "a.jsonl"
    lines.write_text("".join(json.dumps({"text": "a", "score": number / 4}) + "\n" for number in range(20)))
    with pytest.raises(DataError, match="these look like scores"):
        examples(lines, task=task)


@pytest.mark.parametrize(
    "labels", [[str(number) for number in range(40)], ["1.0", "1.5", "2.0", "2.5"], ["1.5", "a"] + ["2.5"] * 20]
)
def test_labels_that_are_numbers_are_labels(tmp_path: Path, labels: list[str]) -> None:
    path = write(tmp_path / "a.tsv", labels)
    found = examples(path, path, task=ClassificationSettings(name="t", text=("text",), label="score"))
    assert set(found.reader.task.labels) == set(labels)


def test_rare_labels_are_told(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tsv", ["a", "a", "b", "c", "c"])
    task = ClassificationSettings(name="t", text=("text",), label="score", labels=("a", "b", "c", "d"))
    found = examples(path, path, task=task)
    assert [finding.what for finding in found.reader.findings(found.splits)] == [
        "1 label occurs never in the training examples: 'd'",
        "1 label occurs once in the training examples: 'b'",
    ]
    assert found.reader.opening(found.splits) == "labels: a (2), b (1), c (2), d (0)"


def test_the_digest_of_labelled_examples_is_that_of_version_0_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs that were begun with it go on, if their held-out examples have files of their own; the digests were computed by it."""
    monkeypatch.chdir(tmp_path)
    rows = ["red cat\ta cat\tyes", "blue dog\ta cat\tno", "green bird\ta bird\tyes", "white fish\tréd fish\tno"]
    Path("d.tsv").write_text("first\tsecond\tlabel\n" + "".join(f"{row}\n" for row in rows))
    Path("e.tsv").write_text("first\tsecond\tlabel\nblack cat\ta dog\tno\n")
    task = ClassificationSettings(name="t", text=("first", "second"))
    held_out = examples(Path("d.tsv"), Path("e.tsv"), task=task)
    assert held_out.digest() == "7a454d4ec27302f846fca77055d00403e96f958976d92deace8de7655784e90b"
    assert held_out.sources["train"]["d.tsv"] == "705a397bba715c671a7788914abd66062dad5107c1f3bdfff4aa15ac44d7ebf9"


@pytest.mark.parametrize(
    ("task", "answers", "words"),
    [
        (ClassificationSettings(name="t", text=("text",), label="right"), ("yes", "no"), "another label"),
        (ClassificationSettings(name="t", text=("text",), label="right", multi_label=True), ("a,b", "b"), "other labels"),
        (RegressionSettings(name="t", text=("text",), label="right"), ("1", "2"), "another score"),
        (TokenLabelsSettings(name="t", text="text", label="right"), ("A B", "B B"), "other labels"),
    ],
)
def test_equal_texts_with_different_answers_are_told(
    task: TaskSettings, answers: tuple[str, str], words: str, tmp_path: Path
) -> None:
    first, second = answers
    (tmp_path / "a.tsv").write_text(f"text\tright\nred cat\t{first}\nred cat\t{second}\nblue dog\t{second}\n")
    (tmp_path / "b.tsv").write_text(f"text\tright\nblack cat\t{first}\n")
    read = examples(tmp_path / "a.tsv", tmp_path / "b.tsv", task=task)
    told = LabelledExamples.repetitions(cast("LabelledExamples", SimpleNamespace(examples=read)))
    assert told == [f"1 of 3 training examples repeat another one's text, 1 of them with {words}"]
