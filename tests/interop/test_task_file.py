"""What a classifier reads: said by the folder that plmtrain writes, asked for where a folder does not say it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from support.finished_run import TEXTS, finished_run
from support.strangers import stranger

from plmtrain import cli

SHORT = [" ".join(text.split()[:words]) for text, words in zip(TEXTS, (2, 6, 9, 3), strict=True)]


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.mark.parametrize("texts", ["premise,hypothesis", "document"])
def test_a_classifier_reads_as_many_texts_as_was_said(texts: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its own folder does not say it; what is imported does, and what is exported or imported from that."""
    stranger(tmp_path / "theirs", "BertForSequenceClassification")
    theirs, ours = str(tmp_path / "theirs"), str(tmp_path / "ours")
    capsys.readouterr()
    for command in (["predict", theirs, "a text"], ["import", theirs, ours], ["export", theirs, ours]):
        assert cli.main(command) == 2
        told = capsys.readouterr().err.splitlines()
        assert told[:2] == ["the folder does not say whether its classifier reads one text or two", theirs]
        assert "--texts text,text_pair" in told[2]
    assert cli.main(["import", theirs, ours, "--texts", texts]) == 0
    assert cli.main(["export", ours, str(tmp_path / "again")]) == 0
    columns = texts.split(",")
    words = [("the low fog", "a road"), ("she said", "the newest houses could not be seen")]
    table = tmp_path / "asked.jsonl"
    table.write_text("".join(json.dumps({"id": 1, **dict(zip(columns, pair, strict=False))}) + "\n" for pair in words))
    tokens = transformers.AutoTokenizer.from_pretrained(theirs)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(theirs).eval()
    read = tokens(*([pair[place] for pair in words] for place in range(len(columns))), padding=True, return_tensors="pt")
    with torch.no_grad():
        expected = model(**read).logits.softmax(-1)
    for folder in (ours, str(tmp_path / "again")):
        capsys.readouterr()
        assert cli.main(["predict", folder, "--json", "--file", str(table)]) == 0
        answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        shares = [[answer["probabilities"][label] for label in ("bad", "so so", "good")] for answer in answers]
        torch.testing.assert_close(torch.tensor(shares), expected, atol=1e-5, rtol=1e-4)
        card = (Path(folder) / "README.md").read_text()
        assert all(f"`{name}`" in card for name in [*columns, "so so"])


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["--texts"], "--texts names the column of a text, or the two columns of a pair"),
        (["--texts", "a,b,c"], "--texts names the column of a text, or the two columns of a pair"),
        (["--texts", "a,a"], "--texts names the column of a text, or the two columns of a pair"),
        (["--text", "a"], "plmtrain import has no option '--text'"),
        (["--texts", "a"], "there is no classifier of texts here"),
    ],
)
def test_texts_that_cannot_be(words: list[str], what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if words == ["--texts", "a"]:
        stranger(tmp_path / "theirs", "BertForMaskedLM")
    capsys.readouterr()
    assert cli.main(["import", str(tmp_path / "theirs"), str(tmp_path / "ours"), *words]) == 2
    assert capsys.readouterr().err.splitlines()[0] == what


@pytest.mark.parametrize(
    ("statement", "what"),
    [
        ({}, "there is no type of task None"),
        ({"task": {"type": "../classification", "name": "t"}}, "there is no type of task '../classification'"),
        ({"task": {"type": "classification", "name": "t", "text": ["a", "b", "c"]}}, "task.text: "),
        ({"task": {"type": "classification", "name": "t", "text": ["a"], "labels": ["x", "y"]}}, "describes another classifier"),
        ({"task": {"type": "regression", "name": "t", "text": ["a"]}}, "describes another classifier"),
    ],
)
def test_a_statement_that_is_not_true_is_refused(
    statement: dict[str, Any], what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stranger(tmp_path / "theirs", "BertForSequenceClassification")
    (tmp_path / "theirs" / "plmtrain.json").write_text(json.dumps(statement))
    capsys.readouterr()
    assert cli.main(["predict", str(tmp_path / "theirs"), "a text"]) == 2
    assert what in capsys.readouterr().err.splitlines()[0]


@pytest.mark.parametrize(
    ("count", "told"), [(3, ""), (0, "num_labels is 0"), (2**27, "num_labels is"), ("3", "num_labels is '3'")]
)
def test_labels_without_names_get_those_of_transformers(
    count: Any, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stranger(tmp_path / "theirs", "BertForSequenceClassification")
    config = tmp_path / "theirs" / "config.json"
    values = {key: value for key, value in json.loads(config.read_text()).items() if key not in ("id2label", "label2id")}
    config.write_text(json.dumps(values | {"num_labels": count}))
    assert cli.main(["import", str(tmp_path / "theirs"), str(tmp_path / "ours"), "--texts=text"]) == (2 if told else 0)
    if told:
        assert told in capsys.readouterr().err
        return
    theirs, ours = (transformers.AutoConfig.from_pretrained(tmp_path / name) for name in ("theirs", "ours"))
    assert ours.id2label == theirs.id2label == {0: "LABEL_0", 1: "LABEL_1", 2: "LABEL_2"}


def test_an_exported_classifier_says_what_it_reads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A pair is a pair in the run, in what is exported from it, and in transformers."""
    run, out = tmp_path / "run", tmp_path / "out"
    finished_run(run, ["model=bert", "task=classification", "task.text=[premise,hypothesis]", "task.labels=[no,yes]"])
    assert cli.main(["export", str(run), str(out)]) == 0
    stated = json.loads((out / "plmtrain.json").read_text())["task"]
    assert (stated["type"], stated["text"], stated["label"], stated["labels"]) == (
        "classification",
        ["premise", "hypothesis"],
        "label",
        ["no", "yes"],
    )
    read = transformers.AutoTokenizer.from_pretrained(out)(SHORT[:2], SHORT[2:], padding=True, return_tensors="pt")
    with torch.no_grad():
        expected = transformers.AutoModelForSequenceClassification.from_pretrained(out).eval()(**read).logits.softmax(-1)[:, 1]
    asked = [json.dumps({"hypothesis": second, "premise": first}) for first, second in zip(SHORT[:2], SHORT[2:], strict=True)]
    for folder in (run, out):
        capsys.readouterr()
        assert cli.main(["predict", str(folder), "--json", *asked]) == 0
        found = [json.loads(line)["probabilities"]["yes"] for line in capsys.readouterr().out.splitlines()]
        assert torch.allclose(torch.tensor(found), expected, atol=1e-5)
        assert cli.main(["predict", str(folder), "one text"]) == 3
