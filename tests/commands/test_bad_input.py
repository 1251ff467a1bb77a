"""Input that cannot be: three lines with file and line, the code that is promised for it, and nothing started or lost."""

from __future__ import annotations

import gzip
import json
import random
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.command_line import Result, plmtrain
from support.tiny_text import FINETUNE, PRETRAIN, TABLES, TEXT, documents, write_texts

MEND = "correct or remove it, or omit such lines with data.on_bad=skip"
JSON_WANTED = f'a line like {{"text": "..."}} was expected; {MEND}'
NO_JSON = "write data=jsonl, or name the text files alone: data.files=['corpus/*.txt']"
TOKENIZER = "tokenizer.path=runs/good/tokenizer"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with text, examples, a pretrained run and a fine-tuned one."""
    folder = tmp_path_factory.mktemp("work")
    write_texts(folder)
    for arguments in (
        ["pretrain", *PRETRAIN, *TEXT, "trainer.steps=2", "name=good"],
        ["finetune", *FINETUNE, *TABLES, "trainer.epochs=1", "name=tuned"],
    ):
        result = plmtrain(*arguments, cwd=folder)
        assert result.code == 0, result.err
    return folder


@pytest.fixture
def work(trained: Path, tmp_path: Path) -> Path:
    shutil.copytree(trained, tmp_path / "work", copy_function=shutil.copy2)
    return tmp_path / "work"


def lines(result: Result) -> list[str]:
    """What was told on standard error, without the progress of preparing."""
    progress = ("reading the sources", "training the tokenizer", "encoding", "writing")
    return [line for line in result.err.splitlines() if not line.startswith(progress)]


def snapshot(work: Path) -> dict[str, bytes]:
    """Every file of the finished runs, and of what was prepared for them."""
    return {str(path): path.read_bytes() for path in sorted(work.glob("runs/*/**/*")) if path.is_file()}


def refused(work: Path, arguments: Sequence[str], code: int, expected: Sequence[str]) -> None:
    """A command ends with a code and three lines; runs that were there are as they were, and no other one was begun."""
    before = snapshot(work)
    result = plmtrain(*arguments, cwd=work)
    assert lines(result) == list(expected)
    assert result.code == code
    after = snapshot(work)
    assert {path: after.get(path) for path in before} == before
    begun = {Path(path).name for path in after.keys() - before.keys()}
    assert begun <= {"status.json", "log.txt", ".lock.json.guard"}, begun  # which say that it failed, and why
    assert not list(work.rglob("*.tmp"))


def compressed(content: bytes) -> bytes:
    whole = gzip.compress(content)
    return whole[: len(whole) // 2]


@dataclass(frozen=True)
class Bad:
    """A file that cannot be used as text, and what is said of it."""

    name: str
    content: bytes | None
    told: tuple[str, str, str]
    kind: str = "text"


GONE = b"caf\xe9"
CORPORA = {
    "missing": Bad(
        "corpis.txt", None, ("this file does not exist", "data.files: corpis.txt", "in .: did you mean 'corpus.txt'?")
    ),
    "empty": Bad(
        "bad.txt",
        b"",
        ("there is no text in this file", "bad.txt", "remove it from data.files, or skip it with data.on_bad=skip"),
    ),
    "blank": Bad(
        "bad.txt",
        b"\n \n\t\n",
        ("there is no text in this file", "bad.txt", "remove it from data.files, or skip it with data.on_bad=skip"),
    ),
    "binary": Bad(
        "bad.txt",
        b"\x89PNG\r\n\x1a\n" + random.Random(0).randbytes(500),
        ("this is not UTF-8: byte 0x89 at place 1 of the line", "bad.txt:1", f"convert it (iconv -t utf-8); {MEND}"),
    ),
    "NUL": Bad(
        "bad.txt",
        b"fine\nwor\0ld\n",
        ("this line contains a NUL byte: the file is binary, or UTF-16 text", "bad.txt:2", f"UTF-8 text was expected; {MEND}"),
    ),
    "Latin-1": Bad(
        "bad.txt",
        b"fine\nand fine\n" + GONE,
        ("this is not UTF-8: byte 0xe9 at place 4 of the line", "bad.txt:3", f"convert it (iconv -t utf-8); {MEND}"),
    ),
    "gzip cut off": Bad(
        "bad.txt.gz",
        compressed(" ".join(documents(20)).encode()),
        (
            "this compressed file is damaged or truncated (Compressed file ended before the end-of-stream marker was reached)",
            "bad.txt.gz:1",
            "copy it again",
        ),
    ),
    "JSON lines as text": Bad(
        "bad.jsonl", b'{"text": "one"}\n', ("a '.jsonl' file contains JSON, not plain text", "bad.jsonl", NO_JSON)
    ),
    "half a line": Bad(
        "bad.jsonl",
        b'{"text": "one"}\n{"text": "tw',
        ("this is not a complete line of JSON: Unterminated string starting at, column 10", "bad.jsonl:2", JSON_WANTED),
        "jsonl",
    ),
    "no column": Bad(
        "bad.jsonl",
        b'{"txt": "one", "id": 1}\n',
        ("there is no column 'text'; the columns here: txt, id", "bad.jsonl:1", "data.text_column: did you mean 'txt'?"),
        "jsonl",
    ),
    "too little": Bad(
        "bad.txt",
        b"A few words only.\n",
        (
            "too little text to hold out 16 tokens: 15 tokens in 1 document",
            "data.files",
            "give more text, name data.validation_files, or train on shorter rows (trainer.sequence_length)",
        ),
    ),
}


@pytest.mark.parametrize("name", CORPORA)
def test_text_that_cannot_be_used(work: Path, name: str) -> None:
    bad = CORPORA[name]
    if bad.content is not None:
        (work / bad.name).write_bytes(bad.content)
    data = [f"data={bad.kind}", f"data.files=[{bad.name}]"]
    refused(work, ["pretrain", *PRETRAIN, *data], 3, bad.told)
    if name in ("Latin-1", "JSON lines as text"):  # all verbs read text in one way
        for verb in ("prepare", "inspect", "tokenizer"):
            refused(work, [verb, *PRETRAIN, *data], 3, bad.told)
        refused(work, ["evaluate", "runs/good", *data], 3, bad.told)
        held_out = ["data=text", "data.files=[corpus.txt]", f"data.validation_files=[{bad.name}]"]
        refused(work, ["pretrain", *PRETRAIN, *held_out], 3, bad.told)


def test_nothing_left_for_validation(work: Path) -> None:
    (work / "held.txt").write_text("A few words.\n")
    told = [
        "the validation text has 5 tokens, but a row takes 16",
        "held.txt",
        "give more text (data.validation_files=), or a smaller trainer.sequence_length",
    ]
    refused(work, ["pretrain", *PRETRAIN, *TEXT, TOKENIZER, "data.validation_files=[held.txt]"], 3, told)


def test_a_model_that_an_objective_cannot_train(work: Path) -> None:
    """What goes with the model is named; that grows with every objective."""
    for verb in ("pretrain", "inspect", "prepare"):
        result = plmtrain(verb, "model=bert", "objective=plm", cwd=work)
        assert result.code == 2
        what, where, remedy = lines(result)
        assert what == "objective=plm needs a backbone of kind two_stream; model=bert is of kind encoder"
        assert where == "file: conf/objective/plm.yaml (objective.type)"
        assert "dynamic_mlm" in remedy
        assert "plmtrain list matrix" in remedy


@pytest.mark.slow
def test_twenty_megabytes_on_one_line(work: Path) -> None:
    """A line is a document, however long; memory is bounded by what a document may be."""
    words = " ".join(documents(1500))
    (work / "long.txt").write_text((words * (20_000_000 // len(words) + 1))[:20_000_000])
    with (work / "long.txt").open() as file:
        assert len(file.readline()) == 20_000_000
    result = plmtrain("prepare", *PRETRAIN, "data=text", "data.files=[long.txt]", TOKENIZER, cwd=work)
    assert result.code == 0, result.err
    assert "0 lines skipped" in result.out


def test_a_vocabulary_that_is_larger_than_the_text_allows_is_told(work: Path) -> None:
    result = plmtrain("pretrain", *PRETRAIN[:-3], *TEXT, "tokenizer.vocab_size=30000", "trainer.steps=1", cwd=work)
    assert result.code == 0, result.err
    assert "(the text gives fewer than 30,000)" in result.out


REFUSED: dict[str, tuple[list[str], int, list[str]]] = {
    "a sequence longer than the positions": (
        ["pretrain", *PRETRAIN, *TEXT, "trainer.sequence_length=64"],
        2,
        [
            "trainer.sequence_length (64) is more than model=bert takes (32)",
            "command line: trainer.sequence_length=64",
            "lower trainer.sequence_length, or raise model.positions",
        ],
    ),
    "an objective that the model cannot learn": (
        ["pretrain", *PRETRAIN, *TEXT, "objective=plm"],
        2,
        ["objective is chosen twice", "command line: objective=plm", "remove one of the two"],
    ),
    "a truth value for a number": (
        ["pretrain", *PRETRAIN, *TEXT, "seed=true"],
        2,
        ["seed: true is not a number", "command line: seed=true", "give it a whole number"],
    ),
    "nothing to start from": (
        ["finetune", "task=classification", *TABLES, "trainer.sequence_length=16", "init=runs/god"],
        2,
        [
            "there is neither a run nor a Hugging Face folder to start from",
            "init=runs/god",
            "name a run below runs/, or a folder with config.json and model.safetensors in it",
        ],
    ),
    "no examples": (
        ["finetune", "task=classification", "trainer.sequence_length=16", "init=runs/good"],
        2,
        [
            "there is nothing to train task=classification on",
            "file: conf/finetune.yaml (data.files)",
            "name your files: data.files=[train.tsv] data.validation_files=[dev.tsv]; plmtrain list task has public datasets",
        ],
    ),
    "no run to evaluate": (
        ["evaluate"],
        2,
        ["evaluate needs a run", "plmtrain evaluate RUN [OVERRIDES]", "name a folder below runs/"],
    ),
    "what is no run": (
        ["evaluate", "runs"],
        2,
        ["runs is not a run", "there is no runs/config.yaml", "name a folder below runs/"],
    ),
    "an option with a slip": (
        ["evaluate", "runs/good", "--jsno"],
        2,
        ["plmtrain evaluate has no option '--jsno'", "command line: --jsno", "did you mean '--json'?"],
    ),
    "no run to use": (["predict"], 2, ["predict needs a run", "plmtrain predict RUN [TEXT]...", "name a folder below runs/"]),
    "another option with a slip": (
        ["predict", "runs/good", "--btach-size", "3", "[MASK]"],
        2,
        ["plmtrain predict has no option '--btach-size'", "command line: --btach-size", "did you mean '--batch-size'?"],
    ),
    "an option without its value": (
        ["predict", "runs/good", "--file"],
        2,
        ["this cannot be understood: argument --file: expected one argument", "plmtrain predict", "see plmtrain predict --help"],
    ),
    "no text at a time": (
        ["predict", "runs/good", "--batch-size", "0", "[MASK]"],
        2,
        [
            "--batch-size must be a whole number above 0, and is '0'",
            "command line: --batch-size",
            "omit it for 32",
        ],
    ),
    "a file that is not there": (
        ["predict", "runs/good", "--file", "nowhere.txt"],
        3,
        [
            "this file cannot be read: No such file or directory",
            "nowhere.txt",
            "check its permissions and its name",
        ],
    ),
    "no mask": (
        ["predict", "runs/good", "no mask here"],
        3,
        ["there is no mask to fill", "'no mask here'", "write [MASK] where a word is missing"],
    ),
    "a text that is too long": (
        ["predict", "runs/good", "[MASK]" + " abc" * 60],
        3,
        [],
    ),
    "half a command": (
        ["export", "runs/good"],
        2,
        [
            "export takes a run and a new folder",
            "command line: runs/good",
            "write: plmtrain export RUN HF_FOLDER [part=generator]",
        ],
    ),
    "a place that is taken": (
        ["export", "runs/good", "runs"],
        2,
        ["something exists at this path already", "runs", "name a folder that does not exist yet"],
    ),
    "nothing to import": (
        ["import", "nowhere", "out"],
        2,
        ["config.json cannot be read: No such file or directory", "nowhere/config.json", "check the path"],
    ),
    "a run to import": (
        ["import", "runs/good", "out"],
        2,
        ["this is a run of plmtrain's", "runs/good", "use it as it is, or export it: plmtrain export"],
    ),
    "nothing to verify": (
        ["verify", "nowhere"],
        2,
        ["nowhere is not a run", "there is no nowhere/config.yaml", "name a folder below runs/"],
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_command_that_cannot_be(work: Path, name: str) -> None:
    arguments, code, told = REFUSED[name]
    if told:
        refused(work, arguments, code, told)
    else:
        result = plmtrain(*arguments, cwd=work)
        assert result.code == code
        assert len(lines(result)) == 3


def spoil(file: str, content: bytes) -> Callable[[Path], object]:
    return lambda work: (work / file).write_bytes(content)


EXAMPLES: dict[str, tuple[bytes, list[str]]] = {
    "no column": (
        b"text\tlabl\nx\t1\n",
        ["there is no column 'label'; the header's columns: text, labl", "bad.tsv:1", "task.label: did you mean 'labl'?"],
    ),
    "a cell too many": (b"text\tlabel\nx\t1\ny\t2\tz\n", ["this row has 3 cells, and the header 2", "bad.tsv:3", MEND]),
    "no row": (b"text\tlabel\n", ["there is no row in this file", "bad.tsv", "a header and rows were expected"]),
    "Latin-1": (
        b"text\tlabel\n" + GONE + b"\t1\n",
        ["this is not UTF-8: byte 0xe9 at place 4 of the line", "bad.tsv:2", f"convert it (iconv -t utf-8); {MEND}"],
    ),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_that_cannot_be_used(work: Path, name: str) -> None:
    content, told = EXAMPLES[name]
    (work / "bad.tsv").write_bytes(content)
    refused(work, ["finetune", *FINETUNE, "data.files=[bad.tsv]"], 3, told)
    refused(work, ["evaluate", "runs/tuned", "data.files=[bad.tsv]"], 3, told)


def test_one_label_is_none(work: Path) -> None:
    (work / "one.tsv").write_text("text\tlabel\nx\t1\ny\t1\n")
    told = ["there is one label only, '1'", "task.label=label", "give examples of two labels or more"]
    refused(work, ["finetune", *FINETUNE, "data.files=[one.tsv]"], 3, told)


def test_a_label_that_training_does_not_have(work: Path) -> None:
    (work / "strange.tsv").write_text("text\tlabel\nfine\t0\nnot so\t7\n")
    told = ["the label '7' is none of training's", "strange.tsv:3", f"training has: 0, 1; {MEND}"]
    refused(work, ["evaluate", "runs/tuned", "data.files=[strange.tsv]"], 3, told)
    refused(work, ["finetune", *FINETUNE, "data.files=[train.tsv]", "data.validation_files=[strange.tsv]"], 3, told)


def test_a_file_of_texts_with_a_bad_line(work: Path) -> None:
    """The other lines are answered, in their order."""
    (work / "asked.txt").write_bytes(b"\xef\xbb\xbf[MASK] one\r\n" + GONE + b" [MASK]\nnothing\n[MASK] two\n")
    told = [
        *("this is not UTF-8: byte 0xe9 at place 4 of the line", "asked.txt:2", "convert it (iconv -t utf-8)"),
        *("there is no mask to fill", "asked.txt:3: 'nothing'", "write [MASK] where a word is missing"),
        "2 of 4 questions have no answer",
    ]
    refused(work, ["predict", "runs/good", "--file", "asked.txt"], 3, told)
    result = plmtrain("predict", "runs/good", "--json", "--file", "asked.txt", cwd=work)
    assert [json.loads(line)["text"] for line in result.out.splitlines()] == ["[MASK] one", "[MASK] two"]


def test_a_vocabulary_that_is_larger_than_the_embeddings(work: Path) -> None:
    """What a run starts from has fewer rows than the tokenizer that is put beside it has tokens: new ones are added, and told."""
    more = ["tokenizer", *[w for w in PRETRAIN if "vocab" not in w], *TEXT, "tokenizer.vocab_size=200"]
    assert plmtrain(more[0], "larger", *more[1:], cwd=work).code == 0
    shape = ["trainer.sequence_length=16", "trainer.batch_size=8", "trainer.threads=1"]
    result = plmtrain("finetune", "task=classification", *TABLES, *shape, "init=runs/good", "tokenizer.path=larger", cwd=work)
    assert result.code == 0
    assert "80 new tokens" in result.out
