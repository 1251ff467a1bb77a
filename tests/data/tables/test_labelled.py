"""Tables of labelled texts: read as they are, numbered, divided; and whatever is wrong is told with file and line."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path

import datasets
import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from plmtrain.data.tables import table_files as tables
from plmtrain.data.tables.division import divided
from plmtrain.data.tables.labelled import Examples, gather, rows_of_files
from plmtrain.data.tables.reader import Example
from plmtrain.data.tables.readers import reader_of
from plmtrain.data.tables.readers.classification import GroupedLabel
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
    if name.endswith(".parquet"):
        columns = dict(zip(header, map(list, zip(*rows, strict=True)), strict=True))
        parquet.write_table(pyarrow.table(columns), path)
        return path
    if name.endswith(".tsv"):
        content = "".join("\t".join(row) + "\n" for row in [header, *rows])
    elif name.endswith(".json"):
        content = json.dumps([dict(zip(header, row, strict=True)) for row in rows], indent=1)
    elif name.endswith(".jsonl"):
        content = "".join(json.dumps(dict(zip(header, row, strict=True))) + "\n" for row in rows)
    else:
        with path.with_suffix(".tmp").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([header, *rows])
        content = path.with_suffix(".tmp").read_bytes().decode()
    path.write_bytes(gzip.compress(content.encode()) if path.suffix == ".gz" else content.encode())
    return path


FORMATS = ["a.tsv", "a.csv", "a.jsonl", "a.json", "a.parquet", "a.tsv.gz", "a.csv.gz", "a.jsonl.gz", "a.json.gz"]


@pytest.mark.parametrize("name", FORMATS)
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
        ("a.jsonl", '{"text": "a", "label": 1}\n{"text": "b", "la', ":2", "not a complete line of JSON", "on_bad"),
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


LABELS = [
    (["10", "9", "-1"], ("-1", "9", "10")),
    (["yes", "no"], ("no", "yes")),
    (["1", "a"], ("1", "a")),
    (["1", "01", "-0", "0", "\uff11"], ("-0", "0", "01", "1", "\uff11")),  # by size, and equal ones by their characters
    (["--1", "1"], ("--1", "1")),
    (["9" * 5000, "1"], ("1", "9" * 5000)),
]


@pytest.mark.parametrize(("labels", "expected"), LABELS)
def test_labels_have_one_order_whatever_the_order_of_rows(tmp_path: Path, labels: list[str], expected: tuple[str, ...]) -> None:
    for number, order in enumerate((labels, labels[::-1])):
        path = write(tmp_path / f"{number}.tsv", [("x", label) for label in order])
        assert examples(path, path).reader.task.labels == expected


@pytest.mark.parametrize(
    ("train", "other", "unknown"),
    [
        (("words", "names"), ("names", "1"), "1"),
        (("1", "2", "3", "4"), ("1", "0"), "0"),
        (("2", "3"), ("3", "1"), "1"),
        (("0", "1"), ("1", "zero"), "zero"),
    ],
)
def test_a_number_is_not_the_place_of_a_label(
    tmp_path: Path, train: tuple[str, ...], other: tuple[str, ...], unknown: str
) -> None:
    """A perfect classifier scored 0 where an unknown number was taken for a place among the labels."""
    known = write(tmp_path / "train.tsv", [("x", label) for label in train])
    asked = write(tmp_path / "dev.tsv", [("x", label) for label in other])
    named = ClassificationSettings(name="t", text=("text",), labels=train)
    for task in (TASK, named):
        with pytest.raises(DataError, match=f"the label '{unknown}' is none of training's") as told:
            examples(known, asked, task=task)
        assert told.value.where == f"{asked}:3"
        assert all(label in told.value.remedy for label in train)


def test_a_parquet_file_that_names_its_classes_may_number_them(tmp_path: Path) -> None:
    names = ["not_entailment", "entailment"]
    table = datasets.Dataset.from_dict({"text": ["a", "b", "c"], "label": [1, 0, 1]})
    table.cast_column("label", datasets.ClassLabel(names=names)).to_parquet(tmp_path / "named.parquet")
    table.to_parquet(tmp_path / "bare.parquet")
    found = examples(tmp_path / "named.parquet", tmp_path / "named.parquet")
    assert [example.reference for example in found.splits["train"]] == ["entailment", "not_entailment", "entailment"]
    bare = examples(tmp_path / "bare.parquet", tmp_path / "bare.parquet")
    assert bare.reader.task.labels == ("0", "1")
    with pytest.raises(DataError, match="the label '1' is none of training's"):
        examples(tmp_path / "bare.parquet", task=ClassificationSettings(name="t", text=("text",), labels=tuple(names)))


@pytest.mark.parametrize("content", [b"PAR1", b"", b"text,label\na,1\n"])
def test_a_broken_parquet_file_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.parquet").write_bytes(content)
    with pytest.raises(DataError, match="this parquet file cannot be read") as told:
        examples(tmp_path / "a.parquet")
    assert told.value.where == str(tmp_path / "a.parquet")


def test_json_labels_of_any_kind(tmp_path: Path) -> None:
    """A number is the label that a table of the same tool would have."""
    path = tmp_path / "a.jsonl"
    for values, expected in (
        (["true", "false"], ("false", "true")),
        (["1.0", "0.0"], ("0.0", "1.0")),
        (["2", "10"], ("2", "10")),
        (["1", "1.5"], ("1", "1.5")),
    ):
        path.write_text("".join(f'{{"text": "a", "label": {value}}}\n' for value in values))
        assert examples(path, path).reader.task.labels == expected
    path.write_text('{"text": "a", "label": NaN}\n')
    with pytest.raises(DataError, match="should be a label"):
        examples(path, path)


def test_examples_without_a_text_are_read_and_their_places_known(tmp_path: Path) -> None:
    """GLUE's QQP has some."""
    path = write(tmp_path / "a.tsv", [("a", "", "x"), ("b", "c", "y"), (" ", "d", "y")], ("one", "two", "label"))
    read = examples(path, path, task=ClassificationSettings(name="t", text=("one", "two")))
    assert len(read.splits["train"]) == 3
    assert list(read.empty) == [f"{path}:2", f"{path}:4"] * 2


def test_labels_that_training_hardly_has_are_told(tmp_path: Path) -> None:
    train = write(tmp_path / "a.tsv", [("a", "x"), ("b", "x"), ("c", "y"), ("d", "y"), ("e", "once")])
    other = write(tmp_path / "b.tsv", [("f", "x"), ("g", "held out")])
    task = ClassificationSettings(name="t", text=("text",), labels=("x", "y", "once", "held out", "nowhere"))
    found = examples(train, other, task=task)
    assert [finding.what for finding in found.reader.findings(found.splits)] == [
        "1 label occurs never in the training examples, but in the held-out ones: 'held out'",
        "1 label occurs never in the training examples: 'nowhere'",
        "1 label occurs once in the training examples: 'once'",
    ]


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


def test_the_same_share_of_each_label_is_held_out(tmp_path: Path) -> None:
    """To one example, of which a label keeps at least one in training; whatever the order of the rows."""
    sizes = {"many": 200, "some": 41, "few": 6, "two": 2, "one": 1}
    rows = [(f"{label} {number}", label) for label, size in sizes.items() for number in range(size)]
    one, again = (
        examples(write(tmp_path / f"{n}.tsv", some), validation_fraction=0.2) for n, some in enumerate((rows, rows[::-1]))
    )
    held_out = [example.reference for example in one.splits["validation"]]
    assert set(texts_of(one, "validation")) == set(texts_of(again, "validation"))
    assert len(held_out) == 50
    for label, size in sizes.items():
        assert held_out.count(label) in ({0} if size == 1 else {int(size * 0.2), int(size * 0.2) + 1}), label


@given(st.lists(st.tuples(st.integers(0, 30), st.sampled_from("abc")), min_size=2, max_size=60), st.floats(0.01, 0.9))
def test_a_division_keeps_its_promises(rows: list[tuple[int, str]], share: float) -> None:
    reader = reader_of(ClassificationSettings(name="t", text=("text",), labels=("a", "b", "c")))
    sides = divided([Example((str(text),), label) for text, label in rows], reader, share)
    texts = [{example.texts for example in side} for side in sides]
    assert not texts[0] & texts[1]
    assert sum(map(len, sides)) == len(rows)
    assert texts[1]
    if len(texts[0] | texts[1]) > 3:
        assert texts[0]


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), min_size=2, max_size=40), st.floats(0.01, 0.9))
def test_groups_that_share_a_text_are_on_one_side(rows: list[tuple[int, int]], share: float) -> None:
    """Two examples are tied if they have group or text in common, and so are those that are tied to one and the same."""
    reader = reader_of(ClassificationSettings(name="t", text=("text",), labels=("a", "b"), group=("q",)))
    some = [Example((f"text {text}",), GroupedLabel("a", f"[{group}]")) for group, text in rows]
    sides = divided(some, reader, share)
    for index in (0, 1):
        seen = [{row[index] for row, example in zip(rows, some, strict=True) if example in side} for side in sides]
        assert not seen[0] & seen[1]
    assert sorted(map(id, divided(some[::-1], reader, share)[1])) == sorted(map(id, sides[1]))


def test_groups_without_a_text_in_common_are_divided_by_their_names() -> None:
    """So that a held-out group stays so, whatever the texts of its examples."""
    reader = reader_of(ClassificationSettings(name="t", text=("text",), labels=("a", "b"), group=("q",)))
    held_out = [
        {example.reference.group for example in divided(some, reader, 0.3)[1]}
        for some in ([Example((f"{prefix} {n}",), GroupedLabel("a", f"[{n // 3}]")) for n in range(60)] for prefix in "xy")
    ]
    assert held_out[0] == held_out[1]
    assert len(held_out[0]) == 6


@pytest.mark.parametrize("ending", ["tsv", "csv"])
def test_a_file_without_a_header_is_read_by_the_names_that_are_given(ending: str, tmp_path: Path) -> None:
    path = write(tmp_path / f"a.{ending}", [("bad", "0")], header=("good", "1"))
    found = examples(path, path, columns=("text", "label"))
    assert [(example.texts, example.reference) for example in found.splits["train"]] == [(("good",), "1"), (("bad",), "0")]
    with pytest.raises(DataError) as told:
        examples(path, path, columns=("text", "tag"))
    assert told.value.what == "there is no column 'label'; data.columns: text, tag"
    with pytest.raises(DataError) as told:
        examples(path, path, columns=("text", "label", "source"))
    assert (told.value.what, told.value.where) == ("this row has 2 cells, and data.columns 3", f"{path}:1")


def test_names_for_columns_that_a_file_names_itself_are_refused(tmp_path: Path) -> None:
    for ending in ("jsonl", "parquet"):
        path = write(tmp_path / f"a.{ending}", ROWS)
        with pytest.raises(DataError) as told:
            examples(path, path, columns=("text", "label"))
        assert told.value.what == "data.columns names the columns of a file without a header, and this one names its own"
        assert told.value.where == str(path)


def test_the_digest_sees_texts_labels_order_and_division(tmp_path: Path) -> None:
    rows = [("a", "0"), ("b", "1"), ("c", "0")]
    variants = [rows, rows[::-1], [("a", "1"), *rows[1:]], [("ab", "0"), ("", "1"), ("c", "0")]]
    digests = [examples(path, path).digest() for path in (write(tmp_path / f"{n}.tsv", some) for n, some in enumerate(variants))]
    assert len(set(digests)) == len(variants)
    same = write(tmp_path / "same.jsonl", rows)
    assert examples(same, same).digest() == digests[0]
