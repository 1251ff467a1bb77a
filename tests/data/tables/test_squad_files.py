"""Questions in SQuAD's JSON, KLUE-MRC's, JSON lines, tables and the hub's parquet: read alike, and refused with file and line."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset

from plmtrain.data.tables.labelled import Examples, gather, rows_of_files
from plmtrain.data.tables.reader import Example
from plmtrain.data.tables.readers import reader_of
from plmtrain.data.tables.spans import RightAnswers
from plmtrain.errors import DataError
from plmtrain.interop.hub import dataset_of
from plmtrain.settings.data import TableSettings
from plmtrain.settings.tasks.question_answering import QuestionAnsweringSettings
from plmtrain.text.readers import Skips


def answers(texts: list[Any], starts: list[Any]) -> dict[str, Any]:
    return {"text": texts, "answer_start": starts}


FIRST, SECOND = "Seoul is the capital of Korea.", "서울은 대한민국의 수도이다."
ROWS: list[dict[str, Any]] = [
    {
        "id": "a",
        "context": FIRST,
        "question": "What is Seoul?",
        "answers": {"text": ["capital", "the capital"], "answer_start": [13, 9]},
    },
    {"id": "b", "context": FIRST, "question": "Of which country?", "answers": {"text": ["Korea"], "answer_start": [24]}},
    {"id": "c", "context": SECOND, "question": "Who?", "answers": {"text": [], "answer_start": []}},
]
RIGHTS = [
    RightAnswers(FIRST, ("capital", "the capital"), (13, 9)),
    RightAnswers(FIRST, ("Korea",), (24,)),
    RightAnswers(SECOND, (), ()),
]


def pairs(row: dict[str, Any]) -> list[dict[str, Any]]:
    answers = row["answers"]
    return [{"text": text, "answer_start": start} for text, start in zip(answers["text"], answers["answer_start"], strict=True)]


def squad(version: int = 2) -> dict[str, Any]:
    """SQuAD's layout: one article, two paragraphs."""
    paragraphs = [
        {
            "context": context,
            "qas": [
                {"question": row["question"], "id": row["id"], "answers": pairs(row)}
                | ({"is_impossible": not pairs(row)} if version == 2 else {})
                for row in ROWS
                if row["context"] == context
            ],
        }
        for context in (FIRST, SECOND)
    ]
    return {"version": f"v{version}", "data": [{"title": "Seoul", "paragraphs": paragraphs}]}


def klue() -> dict[str, Any]:
    """KLUE-MRC's: other names, and plausible answers to questions without one."""
    made = squad()
    for paragraph in made["data"][0]["paragraphs"]:
        for question in paragraph["qas"]:
            question["guid"] = f"klue-{question.pop('id')}"
            if question["is_impossible"]:
                question["plausible_answers"] = question["answers"] = [{"text": "수도", "answer_start": 10}]
    return made


def examples_in(path: Path, **chosen: Any) -> list[Example[RightAnswers]]:
    reader = reader_of(QuestionAnsweringSettings(name="q", **{"unanswerable": True} | chosen))
    data = TableSettings(files=(str(path),))
    made = gather(reader, data, rows_of_files(reader, data, Skips()), Skips(), only="train")
    return list(made.splits["train"])


def write(folder: Path, kind: str) -> Path:
    """Write the same questions in one of the layouts."""
    if kind == "parquet":
        Dataset.from_list(ROWS).to_parquet(folder / "a.parquet")
        return folder / "a.parquet"
    path = folder / ("a.jsonl" if kind == "jsonl" else "a.csv" if kind == "csv" else "a.json")
    if kind == "csv":
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(ROWS[0]))
            writer.writeheader()
            writer.writerows({**row, "answers": json.dumps(row["answers"])} for row in ROWS)
        return path
    text = {
        "squad": lambda: json.dumps(squad()),
        "indented": lambda: json.dumps(squad(), indent=2, ensure_ascii=False),
        "klue": lambda: json.dumps(klue(), indent=4, ensure_ascii=False),
        "array": lambda: json.dumps(ROWS),
        "jsonl": lambda: "".join(json.dumps(row | {"answers": pairs(row)}) + "\n" for row in ROWS),
        "lines": lambda: "".join(json.dumps(row) + "\n" for row in ROWS),
    }[kind]()
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("kind", ["squad", "indented", "klue", "array", "jsonl", "lines", "csv", "parquet"])
def test_every_layout_gives_the_same_questions(kind: str, tmp_path: Path) -> None:
    found = examples_in(write(tmp_path, kind))
    assert [example.texts for example in found] == [(row["question"], row["context"]) for row in ROWS]
    assert [example.reference for example in found] == RIGHTS
    names = [example.reference.id for example in found if example.reference is not None]
    assert names == [f"klue-{row['id']}" if kind == "klue" else row["id"] for row in ROWS]


def test_a_folder_with_the_hubs_layout_is_read_without_it(tmp_path: Path) -> None:
    Dataset.from_list([row | {"is_impossible": not row["answers"]["text"]} for row in ROWS]).to_parquet(
        tmp_path / "validation-00000-of-00001.parquet"
    )
    task = QuestionAnsweringSettings(name="q", unanswerable=True, folder=str(tmp_path))
    reader = reader_of(task)
    read = dataset_of(task, "validation", TableSettings(), Skips()).read(reader.columns)
    assert [reader.example(row).reference for row in read] == RIGHTS


def divided(folder: Path) -> Examples:
    rows = [
        {"context": f"text {number // 3} is here", "question": f"{number}?", "answers": {"text": ["is"], "answer_start": [7]}}
        for number in range(27)
    ]
    (folder / "all.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    reader = reader_of(QuestionAnsweringSettings(name="q"))
    data = TableSettings(files=(str(folder / "all.jsonl"),), validation_fraction=0.4)
    return gather(reader, data, rows_of_files(reader, data, Skips()), Skips())


def test_a_part_is_held_out_by_whole_contexts(tmp_path: Path) -> None:
    made = divided(tmp_path)
    contexts = {split: {example.texts[1] for example in some} for split, some in made.splits.items()}
    assert not contexts["train"] & contexts["validation"]
    assert {len(some) for some in contexts.values()} - {0} == {len(some) for some in contexts.values()}
    assert all(len(some) == 3 * len(contexts[split]) for split, some in made.splits.items())
    assert made.reader.findings(made.splits) == []


GOOD = {"question": "What?", "context": "A cat sat.", "answers": answers(["cat"], [2])}
WRITE = '"answer_start": [0]'


@pytest.mark.parametrize(
    ("changed", "what", "remedy"),
    [
        ({"answers": answers(["dog"], [2])}, "'dog' is not at character 2 of its context, where 'cat' is", "it is nowhere"),
        ({"answers": answers(["cat"], [3])}, "not at character 3", "write answer_start: 2 (characters"),
        ({"answers": {"text": ["cat"]}}, "there is no 'answer_start' in column 'answers'", WRITE),
        ({"answers": answers(["cat", "sat"], [2])}, "2 answers, and 1 places where they start", "on_bad"),
        ({"answers": [{"text": "cat"}]}, "should have 'text' and 'answer_start', but is an object with: text", WRITE),
        ({"answers": answers(["cat"], ["2"])}, "should be the number of a character, but is '2'", "on_bad"),
        ({"answers": answers(["cat"], [-8])}, "should be the number of a character, but is -8", "on_bad"),
        ({"answers": answers([" "], [1])}, "the 'text' of an answer should be text, but is empty", "on_bad"),
        ({"answers": "cat"}, "column 'answers' should be answers, but is text", WRITE),
        ({"answers": 3}, "column 'answers' should be answers, but is a number", WRITE),
        ({"answers": []}, "this question has no answer", "task.unanswerable=true"),
        ({"context": " "}, "column 'context' is empty", "on_bad"),
        ({"question": None}, "column 'question' should be text, but is null", "on_bad"),
        ({"answers": ...}, "there is no column 'answers'; the question's columns: question, context", "task.label"),
    ],
)
def test_a_bad_question_is_told_with_its_line(changed: dict[str, Any], what: str, remedy: str, tmp_path: Path) -> None:
    bad = {key: value for key, value in (GOOD | changed).items() if value is not ...}
    (tmp_path / "a.json").write_text(f"{json.dumps(GOOD)}\n{json.dumps(bad)}\n")
    with pytest.raises(DataError) as refused:
        examples_in(tmp_path / "a.json", unanswerable=False)
    error = refused.value
    assert what in error.what
    assert error.where == f"{tmp_path}/a.json:2"
    assert remedy in error.remedy


def test_a_bad_question_of_squads_layout_is_told_by_its_name_and_line(tmp_path: Path) -> None:
    path, made = tmp_path / "a.json", squad()
    made["data"][0]["paragraphs"][0]["qas"][1]["answers"][0]["answer_start"] = 25
    path.write_text(json.dumps(made, indent=1))
    line = next(number for number, text in enumerate(path.read_text().splitlines(), start=1) if '"id": "b"' in text)
    with pytest.raises(DataError, match="not at character 25") as refused:
        examples_in(path)
    assert refused.value.where == f"{path}:{line}, question b"
    made = squad()
    del made["data"][0]["paragraphs"][1]["context"]
    for change, told in (
        (made, "there is no column 'context'; the question's columns: title, question, id, answers"),
        ({"data": [{"paragraphs": [{"qas": 3}]}]}, "there is no list 'qas' here, but qas"),
        ({"data": [[]]}, "an object was expected, but this is a list"),
    ):
        path.write_text(json.dumps(change))
        with pytest.raises(DataError) as refused:
            examples_in(path)
        assert told in refused.value.what
        assert str(path) in refused.value.where
    path.write_text('{\n"data": [')
    with pytest.raises(DataError, match="this is no complete JSON"):
        examples_in(path)


def test_what_may_be_a_mistake_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(f"{json.dumps(GOOD)}\n")
    reader = reader_of(QuestionAnsweringSettings(name="q", unanswerable=True))
    data = TableSettings(files=(str(tmp_path / "a.jsonl"),), validation_files=(str(tmp_path / "a.jsonl"),))
    made = gather(reader, data, rows_of_files(reader, data, Skips()), Skips())
    told = [finding.what for finding in reader.findings(made.splits)]
    assert told == [
        "every training question has an answer",
        "every held-out question has an answer",
        "1 of 1 held-out contexts are in the training examples, too",
    ]
    assert reader.opening(made.splits) == (
        "answers: 1.0 words on average, 1 at most; 0.0% of the questions have none; 1 different contexts"
    )
