"""A dataset that is laid out like GLUE on the hub, read from a folder without a connection."""

from __future__ import annotations

import socket
from pathlib import Path

import datasets
import numpy as np
import pytest

from plmtrain.errors import DataError
from plmtrain.interop.hub import Dataset
from plmtrain.runs.labelled_examples import LabelledExamples
from plmtrain.settings.composing.compose import compose
from plmtrain.settings.composing.folders import choices
from plmtrain.settings.decode import finetune_settings

NAMES = ["not_entailment", "entailment"]
ROWS = {"sentence1": ["a cat sat", "a dog ran", "it rained"], "sentence2": ["a cat", "a cat", "it was wet"], "idx": [0, 1, 2]}


def write(folder: Path, labels: list[int], *, classes: bool = True) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    table = datasets.Dataset.from_dict({**ROWS, "label": labels})
    if classes:
        table = table.cast_column("label", datasets.ClassLabel(names=NAMES))
    for split in ("train", "validation", "test"):
        table.to_parquet(folder / f"{split}-00000-of-00001.parquet")


@pytest.fixture
def glue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder like the dataset's repository, on a machine without a network."""

    def refused(*_: object) -> None:
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.setattr(socket, "getaddrinfo", refused)
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "glue" / "rte", [1, 0, 1])
    return tmp_path / "glue"


def material(*overrides: str) -> LabelledExamples:
    words = ["size=tiny", "tokenizer.vocab_size=100", *overrides]
    return LabelledExamples.of(finetune_settings(compose(words, primary="finetune")), lambda moment: None)


def test_a_public_task_is_read_from_a_folder(glue: Path) -> None:
    found = material("task=glue/rte", f"task.folder={glue}")
    examples = found.examples
    assert [example.texts for example in examples.splits["train"]] == list(zip(ROWS["sentence1"], ROWS["sentence2"], strict=True))
    assert [example.reference for example in examples.splits["train"]] == ["entailment", "not_entailment", "entailment"]
    assert found.settings.task.labels == ("entailment", "not_entailment")  # as the task has them
    assert found.settings.trainer.steps == 1  # three epochs of three examples in batches of 32


def test_labels_keep_the_datasets_order_where_the_task_names_none(glue: Path) -> None:
    found = material("task=classification", f"task.folder={glue}", "task.subset=rte", "task.text=[sentence1,sentence2]")
    assert found.settings.task.labels == tuple(NAMES)
    rows = found.examples.reader.encode(found.examples.splits["train"], found.tokenizer).rows(40)
    assert rows.fetch(np.arange(3)).targets.tolist() == [1, 0, 1]


def test_an_edit_of_the_same_size_is_seen(glue: Path) -> None:
    """The library's own cache goes by names and times."""
    before = material("task=glue/rte", f"task.folder={glue}").digest
    write(glue / "rte", [0, 1, 0])
    assert material("task=glue/rte", f"task.folder={glue}").digest != before


@pytest.mark.parametrize(
    ("labels", "classes", "overrides", "what"),
    [
        ([1, 0, -1], True, [], "labels of this split are not public"),
        ([1, 0, 7], False, ["task.labels=['0','1']"], "the label '7' is none of training's"),
        ([1, 0, 1], False, [], "the label '1' is none of training's"),
        ([1, 0, 1], True, ["task.text=[premise,hypothesis]"], "there is no column 'premise'; the dataset's columns: sentence1"),
        ([1, 0, 1], True, ["task.validation_split=dev"], "cannot be read"),
        ([1, 0, 1], True, ["task.folder=gone"], "there is no such folder"),
    ],
)
def test_what_is_wrong_is_told(glue: Path, labels: list[int], classes: bool, overrides: list[str], what: str) -> None:
    write(glue / "rte", labels, classes=classes)
    folder = [] if any("folder" in one for one in overrides) else [f"task.folder={glue}"]
    with pytest.raises(DataError) as told:
        material("task=glue/rte", *folder, *overrides)
    assert what in told.value.what
    assert told.value.remedy


def test_every_public_task_says_what_it_reads() -> None:
    """Columns and labels as the card of nyu-mll/glue has them."""
    columns = {
        "cola": ("sentence",),
        "sst2": ("sentence",),
        "mrpc": ("sentence1", "sentence2"),
        "qqp": ("question1", "question2"),
        "mnli": ("premise", "hypothesis"),
        "qnli": ("question", "sentence"),
        "rte": ("sentence1", "sentence2"),
        "stsb": ("sentence1", "sentence2"),
        "wnli": ("sentence1", "sentence2"),
    }
    first = {"cola": "mcc", "mrpc": "f1", "qqp": "f1", "stsb": "pearson"}
    found = [choice for choice in choices("task") if choice.startswith("glue/")]
    assert {choice.removeprefix("glue/") for choice in found} == set(columns)
    for choice in found:
        name = choice.removeprefix("glue/")
        task = finetune_settings(compose([f"task={choice}"], primary="finetune")).task
        assert (task.hub, task.subset, task.name) == ("nyu-mll/glue", name, name)
        assert task.text == columns[name]
        assert task.metrics[0] == first.get(name, "accuracy")
        if name == "stsb":
            assert (task.type, task.label, task.minimum, task.maximum) == ("regression", "label", 0, 5)
        else:
            assert len(task.labels) == (3 if name == "mnli" else 2)


def test_a_dataset_names_itself(glue: Path) -> None:
    task = finetune_settings(compose(["task=glue/rte", f"task.folder={glue}"], primary="finetune")).task
    dataset = Dataset(task, "test")
    assert dataset.name == f"{glue}, rte, test"
    rows = list(dataset.read({"sentence1": "task.text", "label": "task.label"}))
    assert rows[0].where == f"{glue}, rte, test, row 1"
    assert rows[0].cells["label"] == "entailment"


def test_a_run_is_evaluated_without_its_training_split(glue: Path) -> None:
    settings = material("task=glue/rte", f"task.folder={glue}", "task.validation_split=test").settings
    for split in ("train", "validation"):
        (glue / "rte" / f"{split}-00000-of-00001.parquet").unlink()
    (folder,) = Path("prepared/tokenizers").glob("wordpiece-*")
    settings = settings.model_copy(update={"tokenizer": settings.tokenizer.model_copy(update={"path": str(folder)})})
    found = LabelledExamples.held_out(settings, lambda moment: None)
    assert list(found.examples.splits) == ["validation"]
    assert len(found.examples.splits["validation"]) == 3
