"""Tables of labelled texts: read as they are, numbered, divided; and whatever is wrong is told with file and line."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plmtrain.data.tables import table_files as tables
from plmtrain.data.tables.labelled import Examples, gather, rows_of_files
from plmtrain.data.tables.readers import reader_of
from plmtrain.errors import DataError
from plmtrain.settings.data import TableSettings
from plmtrain.settings.tasks.classification import ClassificationSettings
from plmtrain.text.readers import Skips

ROWS = [("good film", "1"), ("bad film", "0"), ('"quoted" and unquoted"', "1"), ("comma, and 'so on'", "0"), ("", "1")]


TASK = ClassificationSettings(name="t", text=("text",))


def examples(train: Path, validation: Path | None = None, *, task: ClassificationSettings = TASK, **data: object) -> Examples:
    files = {"files": (str(train),), "validation_files": (str(validation),) if validation else ()}
    settings, skips = TableSettings(**files, **data), Skips()
    reader = reader_of(task)
    return gather(reader, settings, rows_of_files(reader, settings, skips), skips)


def texts_of(found: Examples, split: str = "train") -> list[str]:
    """The texts of examples of one text each."""
    return [text for (text,) in (example.texts for example in found.splits[split])]


def numbers_of(found: Examples) -> list[int]:
    """The number of each training example's label."""
    return [found.reader.number(example.reference) for example in found.splits["train"]]


def write(path: Path, rows: list[tuple[str, ...]], header: tuple[str, ...] = ("text", "label")) -> Path:
    """A table in the format of its ending."""
    name = path.name.removesuffix(".gz")
    if name.endswith(".tsv"):
        content = "".join("\t".join(row) + "\n" for row in [header, *rows])
    elif name.endswith(".jsonl"):
        content = "".join(json.dumps(dict(zip(header, row, strict=True))) + "\n" for row in rows)
    else:
        with path.with_suffix(".tmp").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([header, *rows])
        content = path.with_suffix(".tmp").read_bytes().decode()
    path.write_bytes(gzip.compress(content.encode()) if path.suffix == ".gz" else content.encode())
    return path


@pytest.mark.parametrize("name", ["a.tsv", "a.csv", "a.jsonl", "a.tsv.gz", "a.csv.gz", "a.jsonl.gz"])
def test_every_format_gives_the_same_rows(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, ROWS)
    found = examples(path, path)
    assert [(*example.texts, example.reference) for example in found.splits["train"]] == ROWS
    assert found.reader.task.labels == ("0", "1")
    assert numbers_of(found) == [1, 0, 1, 0, 1]


ANY = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\0"))


@given(st.lists(st.tuples(ANY, st.sampled_from("ab")), min_size=1, max_size=5))
def test_csv_carries_any_text(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]) -> None:
    """Cells of several lines, with quotes and commas."""
    path = write(tmp_path_factory.mktemp("any") / "a.csv", rows)
    read = tables.read(path, {"text": "task.text", "label": "task.label"}, TableSettings(), Skips())
    assert [(row.text("text"), row.label("label")) for row in read] == rows


def test_quotes_in_tsv_are_text(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text('text\tlabel\n"a\tx\nb"\ty\n')
    assert texts_of(examples(path, path)) == ['"a', 'b"']


@pytest.mark.parametrize(
    ("name", "content", "line", "what", "remedy"),
    [
        ("a.tsv", "txt\tlabel\na\t1\n", ":1", "there is no column 'text'; the header's columns: txt, label", "'txt'"),
        ("a.csv", "text,lable\na,1\n", ":1", "there is no column 'label'", "'lable'"),
        ("a.tsv", "text\tlabel\na\t1\nb\n", ":3", "this row has 1 cells, and the header 2", "data.on_bad=skip"),
        ("a.tsv", "text\tlabel\na\t1\nb\t\n", ":3", "should be a label, but is empty", "data.on_bad=skip"),
        ("a.tsv", "text\ttext\tlabel\n", ":1", "two columns are called 'text'", "rename"),
        ("a.csv", 'text,label\n"a,1\n', ":2", "this is no CSV", "quotes"),
        ("a.jsonl", '{"text": "a", "label": 1}\n{"text": "b", "la', ":2", "no whole line of JSON", "on_bad"),
        (
            "a.jsonl",
            '{"text": "a", "label": 1}\n{"text": "b"}\n',
            ":2",
            "there is no column 'label'; this line's columns: text",
            "",
        ),
        ("a.jsonl", '{"text": 7, "label": 1}\n', ":1", "column 'text' should be text, but is a number", "on_bad"),
        ("a.jsonl", '{"text": "a", "label": null}\n', ":1", "should be a label, but is null", "on_bad"),
        ("a.jsonl", "[1]\n", ":1", "a JSON object was expected, but this is a list", "on_bad"),
        ("a.tsv", "", "", "there is no row in this file", "a header and rows"),
        ("a.tsv", "text\tlabel\n", "", "there is no row in this file", "a header and rows"),
        ("a.txt", "text\tlabel\n", "", "cannot be seen from its ending '.txt'", "data.format=tsv"),
        ("a.tsv", "text\tlabel\na\t1\n", "", "there is one label only, '1'", "two labels or more"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(tmp_path: Path, name: str, content: str, line: str, what: str, remedy: str) -> None:
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(DataError) as told:
        examples(path)
    assert told.value.exit_code == 3
    assert what in told.value.what
    assert remedy in told.value.remedy
    if line:
        assert told.value.where == f"{path}{line}"


def test_a_label_that_training_does_not_have(tmp_path: Path) -> None:
    train = write(tmp_path / "train.tsv", [("a", "good"), ("b", "bad")])
    other = write(tmp_path / "dev.tsv", [("c", "good"), ("d", "baad")])
    with pytest.raises(DataError, match="the label 'baad' is none of training's") as told:
        examples(train, other)
    assert (told.value.where, told.value.remedy) == (f"{other}:3", "did you mean 'bad'?")


def test_bad_rows_may_be_skipped_and_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_bytes(b"text\tlabel\na\t1\nb\nc\t0\n\xff\t1\nd\t0\n")
    found = examples(path, path, on_bad="skip")
    assert texts_of(found) == ["a", "c", "d"]
    assert found.skips.count == 4  # twice read
    assert f"{path}:3" in found.skips.first[0]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["10", "9", "-1"], ("-1", "9", "10")),
        (["yes", "no"], ("no", "yes")),
        (["1", "a"], ("1", "a")),
    ],
)
def test_labels_have_one_order_whatever_the_order_of_rows(tmp_path: Path, labels: list[str], expected: tuple[str, ...]) -> None:
    for number, order in enumerate((labels, labels[::-1])):
        path = write(tmp_path / f"{number}.tsv", [("x", label) for label in order])
        assert examples(path, path).reader.task.labels == expected


def test_given_labels_are_taken_in_their_order_and_by_their_numbers(tmp_path: Path) -> None:
    """GLUE's own files have numbers where its datasets have words."""
    named = ClassificationSettings(name="t", text=("text",), labels=("not_entailment", "entailment"))
    words = write(tmp_path / "a.tsv", [("x", "entailment"), ("y", "not_entailment")])
    numbers = write(tmp_path / "b.tsv", [("x", "1"), ("y", "0")])
    found = [examples(path, path, task=named) for path in (words, numbers)]
    assert [one.reader.task.labels for one in found] == [("not_entailment", "entailment")] * 2
    assert [numbers_of(one) for one in found] == [[1, 0]] * 2


def test_json_labels_of_any_kind(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "a", "label": true}\n{"text": "b", "label": false}\n')
    assert examples(path, path).reader.task.labels == ("false", "true")


def test_a_part_is_held_out_by_what_the_texts_say(tmp_path: Path) -> None:
    rows = [(f"text {number % 150}", str(number % 2)) for number in range(300)]
    one = examples(write(tmp_path / "a.tsv", rows))
    sides = [set(texts_of(one, split)) for split in ("train", "validation")]
    assert not sides[0] & sides[1]
    assert 10 <= len(one.splits["validation"]) <= 60
    assert len(one.splits["train"]) + len(one.splits["validation"]) == 300
    again = examples(write(tmp_path / "b.tsv", rows[::-1]))
    assert set(texts_of(again, "validation")) == sides[1]
    few = examples(write(tmp_path / "c.tsv", rows[:3]), validation_fraction=1e-9)
    assert len(few.splits["validation"]) == 1


def test_the_digest_sees_texts_labels_order_and_division(tmp_path: Path) -> None:
    rows = [("a", "0"), ("b", "1"), ("c", "0")]
    variants = [rows, rows[::-1], [("a", "1"), *rows[1:]], [("ab", "0"), ("", "1"), ("c", "0")]]
    digests = [examples(path, path).digest() for path in (write(tmp_path / f"{n}.tsv", some) for n, some in enumerate(variants))]
    assert len(set(digests)) == len(variants)
    same = write(tmp_path / "same.jsonl", rows)
    assert examples(same, same).digest() == digests[0]
