"""A dataset that is laid out like GLUE on the hub, read from a folder without a connection."""

from __future__ import annotations

import socket
from pathlib import Path

import datasets
import numpy as np
import pytest

from plmtrain.data.tables.labelled import Examples
from plmtrain.errors import DataError
from plmtrain.interop.hub import Dataset
from plmtrain.runs import labelled_examples
from plmtrain.runs.labelled_examples import LabelledExamples
from plmtrain.settings.composing.compose import compose
from plmtrain.settings.composing.folders import choices
from plmtrain.settings.decode import finetune_settings
from plmtrain.settings.run import FinetuneSettings

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


def examples_of(settings: FinetuneSettings) -> Examples:
    """The examples alone, for which no tokenizer is trained."""
    return labelled_examples._examples(settings)


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


ORIGINAL = {
    "CoLA": "gj04\t1\t\tA cat sat.\ngj04\t0\t*\tSat cat a.\n",
    "SST-2": "sentence\tlabel\na cat \t1\nno cat \t0\n",
    "MRPC": '\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\r\n1\t1\t2\t"A" cat .\tCat .\r\n0\t3\t4\tA dog .\tCat .\r\n',
    "QQP": "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n1\t2\t3\tWhy?\tHow?\t0\n4\t5\t6\tWhy?\tWhy so?\t1\n",
    "STS-B": "index\tgenre\tsentence1\tsentence2\tscore\n0\tmain\tA cat.\tCat.\t4.5\n1\tmain\tA cat.\tDog.\t0.500\n",
    "MNLI": "index\tsentence1\tsentence2\tlabel1\tgold_label\n0\tA cat.\tA dog.\tx\tcontradiction\n1\tA.\tB.\tx\tneutral\n",
    "QNLI": "index\tquestion\tsentence\tlabel\n0\tWhy?\tSo.\tentailment\n1\tHow?\tNo.\tnot_entailment\n",
    "RTE": "index\tsentence1\tsentence2\tlabel\n0\tA cat.\tCat.\tentailment\n1\tDog.\tCat.\tnot_entailment\n",
    "WNLI": "index\tsentence1\tsentence2\tlabel\n0\tIt is.\tIt.\t1\n1\tShe is.\tHe.\t0\n",
}
"""Two rows of each task, in the columns that GLUE's zip files have."""

READ = {
    "cola": [(("A cat sat.",), "acceptable"), (("Sat cat a.",), "unacceptable")],
    "sst2": [(("a cat ",), "positive"), (("no cat ",), "negative")],
    "mrpc": [(('"A" cat .', "Cat ."), "equivalent"), (("A dog .", "Cat ."), "not_equivalent")],
    "qqp": [(("Why?", "How?"), "not_duplicate"), (("Why?", "Why so?"), "duplicate")],
    "stsb": [(("A cat.", "Cat."), 4.5), (("A cat.", "Dog."), 0.5)],
    "mnli": [(("A cat.", "A dog."), "contradiction"), (("A.", "B."), "neutral")],
    "qnli": [(("Why?", "So."), "entailment"), (("How?", "No."), "not_entailment")],
    "rte": [(("A cat.", "Cat."), "entailment"), (("Dog.", "Cat."), "not_entailment")],
    "wnli": [(("It is.", "It."), "entailment"), (("She is.", "He."), "not_entailment")],
}


def write_original(place: Path, name: str) -> None:
    """The folder of a task as GLUE's zip file unpacks."""
    (place / name).mkdir(parents=True)
    for split in ("train", "dev_matched" if name == "MNLI" else "dev"):
        (place / name / f"{split}.tsv").write_bytes(ORIGINAL[name].encode())


@pytest.mark.parametrize("name", ORIGINAL)
def test_the_folders_of_glue_itself_are_read(tmp_path: Path, name: str) -> None:
    """Numbers are names there, in the order that GLUE gives them."""
    subset = name.lower().replace("-", "")
    write_original(tmp_path / "GLUE", name)
    for folder in (tmp_path / "GLUE", tmp_path / "GLUE" / name):
        task = finetune_settings(compose([f"task=glue/{subset}", f"task.folder={folder}"], primary="finetune"))
        found = examples_of(task)
        for split in ("train", "validation"):
            assert [(example.texts, example.reference) for example in found.splits[split]] == READ[subset]


def test_a_bad_row_of_glue_is_told_or_skipped(tmp_path: Path) -> None:
    write_original(tmp_path, "QQP")
    with (tmp_path / "QQP" / "train.tsv").open("a") as file:
        file.write("7\t8\t9\thalf a row\n7\t8\t9\tWhy?\tHow?\t2\n")
    words = ["task=glue/qqp", f"task.folder={tmp_path}"]
    with pytest.raises(DataError, match="this row has 4 cells, and the header 6") as told:
        examples_of(finetune_settings(compose(words, primary="finetune")))
    assert told.value.where == f"{tmp_path}/QQP/train.tsv:4"
    (tmp_path / "QQP" / "train.tsv").write_text(ORIGINAL["QQP"] + "7\t8\t9\thalf a row\n")
    found = examples_of(finetune_settings(compose([*words, "data.on_bad=skip"], primary="finetune")))
    assert (len(found.splits["train"]), found.skips.count) == (2, 1)


def test_the_folder_of_the_task_itself_may_be_named(glue: Path) -> None:
    found = material("task=glue/rte", f"task.folder={glue / 'rte'}")
    assert [example.reference for example in found.examples.splits["train"]] == ["entailment", "not_entailment", "entailment"]


def test_a_folder_of_other_tasks_is_not_taken_for_this_one(glue: Path) -> None:
    with pytest.raises(DataError, match="there is no sst2 in this folder") as told:
        material("task=glue/sst2", f"task.folder={glue}")
    assert told.value.where == f"task.folder={glue}: rte"
    assert "sst2/train-*.parquet" in told.value.remedy
    assert "SST-2/train.tsv" in told.value.remedy


def test_a_part_that_is_missing_is_told(glue: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError) as told:
        material("task=glue/rte", f"task.folder={glue}", "task.validation_split=dev")
    assert "dev" in told.value.where
    assert "task.validation_split=" in told.value.remedy
    (tmp_path / "own" / "RTE").mkdir(parents=True)
    (tmp_path / "own" / "RTE" / "train.tsv").write_bytes(ORIGINAL["RTE"].encode())
    with pytest.raises(DataError, match="there is no validation part in GLUE's own folder RTE") as told:
        material("task=glue/rte", f"task.folder={tmp_path / 'own'}")
    assert told.value.where.endswith("RTE: train.tsv")


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
        ([1, 0, 1], True, ["task.validation_split=dev"], "rte, dev cannot be read"),
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
