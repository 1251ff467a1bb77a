"""Texts made of several columns: parts between marks, templates, and what is told where a place is none of the text."""

from __future__ import annotations

import json
from typing import Any

import pytest

from plmtrain.data.tables.readers import reader_of
from plmtrain.data.tables.readers.classification import GroupedLabel
from plmtrain.data.tables.table_files import Row
from plmtrain.errors import DataError
from plmtrain.families import TOKENIZER_FAMILIES
from plmtrain.settings.tasks.classification import ClassificationSettings
from plmtrain.settings.tasks.regression import RegressionSettings
from plmtrain.settings.tokenizer import TokenizerSettings
from plmtrain.text.extension import with_added_tokens
from plmtrain.text.tokenizer_training import train

SPAN = {"text": "s", "start": "from", "end": "to", "before": "<", "after": ">"}
WORDS = {"text": "s", "start": "from", "words": "part", "before": "# ", "after": " #"}


def read(marks: list[dict[str, Any]], **cells: Any) -> str:
    reader = reader_of(ClassificationSettings(name="t", text=("s",), marks=marks))
    (text,) = reader.example(Row("x.jsonl:7", {"label": "a", **cells})).texts
    return text


@pytest.mark.parametrize(
    ("mark", "cells", "expected"),
    [
        (SPAN, {"s": "a cat sat", "from": 2, "to": 5}, "a <cat> sat"),
        (SPAN, {"s": "a cat sat", "from": "0", "to": "9"}, "<a cat sat>"),
        ({**SPAN, "inclusive": True}, {"s": "a cat sat", "from": 2, "to": 4}, "a <cat> sat"),
        (WORDS, {"s": "a  cat, sat", "from": 1, "part": "Cat"}, "a  # cat #, sat"),
        (WORDS, {"s": " a cat sat ", "from": 1, "part": "cat sat"}, " a # cat sat # "),
    ],
)
def test_a_part_is_read_between_its_marks(mark: dict[str, Any], cells: dict[str, Any], expected: str) -> None:
    assert read([mark], **cells) == expected


@pytest.mark.parametrize(
    ("marks", "cells", "what"),
    [
        ([SPAN], {"from": 3, "to": 10}, "'from' and 'to' are the characters 3 to 10, and 's' has 9"),
        ([SPAN], {"from": 3, "to": 3}, "'from' and 'to' are the characters 3 to 3, and 's' has 9"),
        ([SPAN], {"from": -1, "to": 3}, "'from' and 'to' are the characters -1 to 3, and 's' has 9"),
        ([SPAN], {"from": 1.5, "to": 3}, "column 'from' should be a whole number, but is 1.5"),
        ([SPAN], {"from": "x", "to": 3}, "column 'from' should be a number, but is 'x'"),
        ([WORDS], {"from": 2, "part": "cat"}, "'cat' is not at word 2 of column 's': 'sat' is there"),
        ([WORDS], {"from": 3, "part": "cat"}, "'cat' is not at word 3 of column 's': the text has ended there"),
        ([SPAN, WORDS], {"from": 1, "to": 4, "part": "cat"}, "two parts that are to be marked in column 's' overlap"),
    ],
)
def test_a_place_that_is_none_of_the_text_is_told_with_its_line(
    marks: list[dict[str, Any]], cells: dict[str, Any], what: str
) -> None:
    with pytest.raises(DataError) as told:
        read(marks, s="a cat sat", **cells)
    assert (told.value.what, told.value.where) == (what, "x.jsonl:7")
    assert "data.on_bad=skip" in told.value.remedy


def test_a_part_that_may_be_missing_is_left_without_marks_and_counted() -> None:
    """Rows as in WSC: the noun of the second is not the words at its place, nor is there any at the pronoun's of the third."""
    noun = {**WORDS, "before": "* ", "after": " *", "missing": "unmarked"}
    it = {**SPAN, "start": "it", "end": "end", "missing": "unmarked"}
    reader = reader_of(ClassificationSettings(name="t", text=("s",), labels=("a", "b"), marks=[noun, it]))
    cells = {"s": "Kamenev and Zinoviev feared him", "from": 0, "it": 28, "end": 31, "label": "a"}
    rows = [{"part": "Kamenev and Zinoviev"}, {"part": "Zinoviev"}, {"part": "Kamenev", "it": 40}]
    examples = [reader.example(Row("x:1", {**cells, **changes})) for changes in rows]
    assert [example.texts for example in examples] == [
        ("* Kamenev and Zinoviev * feared <him>",),
        ("Kamenev and Zinoviev feared <him>",),
        ("* Kamenev * and Zinoviev feared him",),
    ]
    (told, *_) = reader.findings({"train": examples[:2], "validation": examples[2:]})
    assert told.what.startswith("2 of 3 examples are read without a mark")
    assert not any("mark" in told.what for told in reader.findings({"train": examples[:1], "validation": []}))


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"joined": {"t": "{s}"}}, "joined has a template for t, which text does not name"),
        ({"joined": {"s": "{"}}, r"joined\.s has a single brace"),
        ({"joined": {"s": "no {{brace}}"}}, "joined has no column for s"),
        ({"marks": [{**SPAN, "text": "t"}]}, "marks names the text t, which is not read: s"),
        ({"marks": [{**SPAN, "words": "w"}]}, "a mark takes end"),
        ({"marks": [{**WORDS, "inclusive": True}]}, "inclusive is of end"),
        ({"group": "q", "multi_label": True, "metrics": ("micro_f1",)}, "group is of one label a text"),
        ({"metrics": ("exact_match",)}, "exact_match, which is of groups"),
        ({"negative_label": "a"}, "negative_label is of micro_f1"),
        ({"negative_label": "c", "labels": ("a", "b"), "metrics": ("micro_f1",)}, "negative_label is no label"),
    ],
)
def test_settings_without_a_meaning_are_refused(changes: dict[str, Any], what: str) -> None:
    with pytest.raises(ValueError, match=what):
        ClassificationSettings(name="t", text=("s",), **{**changes, "metrics": changes.get("metrics", ("accuracy",))})


def test_a_question_is_read_as_an_example_is() -> None:
    """Of the columns that the texts are made of, also within objects; a line has the texts as they are read."""
    task = RegressionSettings(
        name="t",
        text=("s", "both"),
        joined={"both": "{q}? {a.b}"},
        marks=[{**SPAN, "text": "q", "start": "at.from", "end": "at.to"}],
    )
    cells = {"s": "x", "q": "a cat", "a": {"b": "yes"}, "at": {"from": 2, "to": 5}}
    reader = reader_of(task)
    assert set(reader.question_columns) == {"s", "q", "a.b", "at.from", "at.to"}
    assert reader.question(json.dumps(cells)).texts == ("x", "a <cat>? yes")
    assert reader.question("x\ta <cat>? yes").texts == ("x", "a <cat>? yes")
    with pytest.raises(DataError, match=r"there is no 'at\.from'"):
        reader.question(json.dumps({**cells, "at": {}}))


def test_examples_of_a_group_stay_together_and_are_told_apart_from_those_of_another() -> None:
    reader = reader_of(ClassificationSettings(name="t", text=("s",), group=("p", "q")))
    first, second, other = (
        reader.example(Row("x:1", {"s": text, "label": "a", "p": 1, "q": question}))
        for text, question in (("x", 1), ("y", 1), ("x", 2))
    )
    assert first.reference == GroupedLabel("a", "[1, 1]")
    assert reader.kin(first)[0] == reader.kin(second)[0] != reader.kin(other)[0]
    assert reader.content(first) != reader.content(other)
    assert reader.line(first) == {"s": "x", "expected": "a"}
    for nothing in (None, ""):
        with pytest.raises(DataError, match="column 'q' names no group"):
            reader.example(Row("x:1", {"s": "x", "label": "a", "p": 1, "q": nothing}))


@pytest.mark.parametrize("kind", ["wordpiece-bert", "byte_bpe-roberta", "unigram-albert"])
def test_marks_are_a_token_each(kind: str) -> None:
    name, family = kind.split("-")
    texts = ["a cat sat on a mat", "the cat ran"] * 20
    before = train(iter(texts), TokenizerSettings(type=name, family=family, vocab_size=300, lowercase=True))
    task = ClassificationSettings(name="t", text=("s",), marks=[{**SPAN, "before": "<subj>", "after": "</subj>"}])
    after = with_added_tokens(before, TOKENIZER_FAMILIES[family], task.added_tokens)
    new = {after.ids[mark] for mark in ("<subj>", "</subj>")}
    assert min(new) >= before.vocabulary.size
    ids = after.encode(["a <subj>cat</subj> sat"])[0][0].tolist()
    assert new <= set(ids)
    assert before.encode(["a cat sat"])[0][0].tolist() == after.encode(["a cat sat"])[0][0].tolist()
    assert with_added_tokens(after, TOKENIZER_FAMILIES[family], task.added_tokens) is after
