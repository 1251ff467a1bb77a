"""The public tasks besides GLUE: each reads a local copy in the columns of its dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets
import pytest
from datasets import ClassLabel, Sequence, Value

from plmtrain.data.tables.readers.classification import GroupedLabel
from plmtrain.data.tables.readers.multiple_choice import RightTexts
from plmtrain.runs import labelled_examples
from plmtrain.settings.composing.compose import compose
from plmtrain.settings.composing.folders import choices, section
from plmtrain.settings.decode import finetune_settings
from plmtrain.settings.lookup import task_classes

NLI = ClassLabel(names=["entailment", "neutral", "contradiction"])
TEXT = Value("string")
ENTITY = {"word": TEXT, "start_idx": Value("int32"), "end_idx": Value("int32"), "type": TEXT}
TRUTH = ClassLabel(names=["False", "True"])
TOPICS = ClassLabel(names=["IT", "economy", "society"])
NAMES = Sequence(ClassLabel(names=["O", "B-PER", "I-PER"]))


def pair(first: str, second: str, label: Any) -> dict[str, Any]:
    return {first: TEXT, second: TEXT, "label": label}


# For each task: its features as its card has them, a row in these, and what is read: the texts and the right answer.
SUITES: dict[str, tuple[dict[str, Any], dict[str, Any], tuple[str, ...], Any]] = {
    "superglue/boolq": (
        pair("question", "passage", ClassLabel(names=["False", "True"])),
        {"question": "q", "passage": "p", "label": 1},
        ("q", "p"),
        "True",
    ),
    "superglue/cb": (
        pair("premise", "hypothesis", ClassLabel(names=["entailment", "contradiction", "neutral"])),
        {"premise": "p", "hypothesis": "h", "label": 1},
        ("p", "h"),
        "contradiction",
    ),
    "superglue/rte": (
        pair("premise", "hypothesis", ClassLabel(names=["entailment", "not_entailment"])),
        {"premise": "p", "hypothesis": "h", "label": 1},
        ("p", "h"),
        "not_entailment",
    ),
    "superglue/copa": (
        {
            **dict.fromkeys(("premise", "choice1", "choice2", "question"), TEXT),
            "label": ClassLabel(names=["choice1", "choice2"]),
        },
        {"premise": "p", "choice1": "one", "choice2": "two", "question": "effect", "label": 1},
        ("p", "effect", "one", "two"),
        1,
    ),
    "superglue/multirc": (
        {
            **dict.fromkeys(("paragraph", "question", "answer"), TEXT),
            "idx": dict.fromkeys(("paragraph", "question", "answer"), Value("int32")),
            "label": TRUTH,
        },
        {"paragraph": "p", "question": "q?", "answer": "a", "idx": {"paragraph": 3, "question": 1, "answer": 2}, "label": 1},
        ("p", "q? a"),
        GroupedLabel("True", "[3, 1]"),
    ),
    "superglue/wic": (
        {
            **dict.fromkeys(("word", "sentence1", "sentence2"), TEXT),
            **dict.fromkeys(("start1", "start2", "end1", "end2"), Value("int32")),
            "label": TRUTH,
        },
        # The first row of its training part.
        {
            "word": "place",
            "sentence1": "Do you want to come over to my place later?",
            "sentence2": "A political system with no place for the less prominent groups.",
            "start1": 31,
            "start2": 27,
            "end1": 36,
            "end2": 32,
            "label": 0,
        },
        (
            "Do you want to come over to my * place * later?",
            "A political system with no * place * for the less prominent groups.",
        ),
        "False",
    ),
    "superglue/wsc": (
        {
            **dict.fromkeys(("text", "span1_text", "span2_text"), TEXT),
            **dict.fromkeys(("span1_index", "span2_index"), Value("int32")),
            "label": TRUTH,
        },
        # The example in T5's code, which is turned there into the same.
        {
            "text": "This is a test sentence .",
            "span1_text": "test",
            "span1_index": 3,
            "span2_text": "This",
            "span2_index": 0,
            "label": 0,
        },
        ("# This # is a * test * sentence .",),
        "False",
    ),
    "superglue/record": (
        {"passage": TEXT, "query": TEXT, "entities": Sequence(TEXT), "answers": Sequence(TEXT)},
        {
            "passage": "p",
            "query": "Then @placeholder won.",
            "entities": ["Ann", "Bea", "the Cats"],
            "answers": ["the Cats", "Ann"],
        },
        ("p", "Then @placeholder won.", "Ann", "Bea", "the Cats"),
        RightTexts(("the Cats", "Ann"), ("Ann", "Bea", "the Cats"), (0, 2)),
    ),
    "swag": (
        {
            **dict.fromkeys(("sent1", "sent2", "ending0", "ending1", "ending2", "ending3"), TEXT),
            "label": ClassLabel(names=["0", "1", "2", "3"]),
        },
        {"sent1": "a", "sent2": "b", "ending0": "c", "ending1": "d", "ending2": "e", "ending3": "f", "label": 2},
        ("a", "b", "c", "d", "e", "f"),
        2,
    ),
    "race": (
        {"article": TEXT, "question": TEXT, "options": Sequence(TEXT), "answer": TEXT},
        {"article": "a", "question": "It is _ .", "options": ["b", "c", "d", "e"], "answer": "D"},
        ("a", "It is _ .", "b", "c", "d", "e"),
        3,
    ),
    "klue/ner": (
        {"sentence": TEXT, "tokens": Sequence(TEXT), "ner_tags": Sequence(ClassLabel(names=["B-PS", "I-PS", "O"]))},
        {"sentence": "<김 군:PS>이", "tokens": ["김", " ", "군", "이"], "ner_tags": [0, 1, 1, 2]},
        ("김", " ", "군", "이"),
        ("B-PS", "I-PS", "O"),
    ),
    "klue/re": (
        {
            "sentence": TEXT,
            "subject_entity": ENTITY,
            "object_entity": ENTITY,
            "label": ClassLabel(names=["no_relation", "org:members"]),
        },
        # The example in the authors' code, of which the markers are theirs.
        {
            "sentence": "조지 해리슨이 쓰고 비틀즈가 부른 노래",
            "subject_entity": {"word": "비틀즈", "start_idx": 11, "end_idx": 13, "type": "ORG"},
            "object_entity": {"word": "조지 해리슨", "start_idx": 0, "end_idx": 5, "type": "PER"},
            "label": 1,
        },
        ("<obj>조지 해리슨</obj>이 쓰고 <subj>비틀즈</subj>가 부른 노래",),
        "org:members",
    ),
    "klue/ynat": ({"title": TEXT, "label": TOPICS}, {"title": "t", "label": 2}, ("t",), "society"),
    "klue/nli": (pair("premise", "hypothesis", NLI), {"premise": "p", "hypothesis": "h", "label": 0}, ("p", "h"), "entailment"),
    "klue/sts": (
        {
            "sentence1": TEXT,
            "sentence2": TEXT,
            "labels": {"label": Value("float64"), "real-label": Value("float64"), "binary-label": Value("int64")},
        },
        {"sentence1": "a", "sentence2": "b", "labels": {"label": 3.0, "real-label": 2.97, "binary-label": 0}},
        ("a", "b"),
        2.97,
    ),
    "nsmc": (
        {"document": TEXT, "label": ClassLabel(names=["negative", "positive"])},
        {"document": "d", "label": 1},
        ("d",),
        "positive",
    ),
    "korsts": (
        {"sentence1": TEXT, "sentence2": TEXT, "score": Value("float64")},
        {"sentence1": "a", "sentence2": "b", "score": 5.0},
        ("a", "b"),
        5.0,
    ),
    "kornli": (
        {"sentence1": TEXT, "sentence2": TEXT, "gold_label": TEXT},
        {"sentence1": "a", "sentence2": "b", "gold_label": "neutral"},
        ("a", "b"),
        "neutral",
    ),
    "xnli": (pair("premise", "hypothesis", NLI), {"premise": "p", "hypothesis": "h", "label": 2}, ("p", "h"), "contradiction"),
    "conll2003": (
        {"tokens": Sequence(TEXT), "ner_tags": NAMES},
        {"tokens": ["a", "b"], "ner_tags": [1, 2]},
        ("a", "b"),
        ("B-PER", "I-PER"),
    ),
    "wnut17": (
        {"tokens": Sequence(TEXT), "ner_tags": NAMES},
        {"tokens": ["a", "b"], "ner_tags": [0, 1]},
        ("a", "b"),
        ("O", "B-PER"),
    ),
    "cnn_dailymail": ({"article": TEXT, "highlights": TEXT}, {"article": "a", "highlights": "h"}, ("a",), "h"),
    "xsum": ({"document": TEXT, "summary": TEXT}, {"document": "d", "summary": "s"}, ("d",), "s"),
    "wmt16_en_ro": (
        {"translation": {"en": TEXT, "ro": TEXT}},
        {"translation": {"en": "e", "ro": "r"}},
        ("e",),
        "r",
    ),
}
TYPES = set(task_classes())


@pytest.mark.parametrize("name", SUITES)
def test_a_copy_of_a_public_task_is_read(name: str, tmp_path: Path) -> None:
    features, row, texts, reference = SUITES[name]
    model = ["model=bart"] if "target" in section("task", name) else []  # which writes texts
    task = finetune_settings(compose([f"task={name}", f"task.folder={tmp_path}", *model], primary="finetune"))
    table = datasets.Dataset.from_list([row], features=datasets.Features(features))
    (tmp_path / (task.task.subset or "")).mkdir(exist_ok=True)
    for split in (task.task.train_split, task.task.validation_split):
        table.to_parquet(tmp_path / (task.task.subset or "") / f"{split}-00000-of-00001.parquet")
    reader, rows = labelled_examples._of_dataset(
        labelled_examples.reader_of(task.task), task.data, labelled_examples.Skips(), ("train", "validation")
    )
    ((_, train),) = rows("train")
    (example,) = map(reader.example, train)
    assert (example.texts, example.reference) == (texts, reference)


def test_every_public_task_is_tried() -> None:
    others = {name for name in choices("task") if not name.startswith(("glue/", "squad")) and name not in TYPES}
    assert others - SUITES.keys() == {"klue/mrc", "xquad"}  # tests/tasks/test_question_answering.py reads their layouts
