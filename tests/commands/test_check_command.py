"""``plmtrain check`` as a user meets it: all that is wrong at once, what the run will cost, and nothing left behind."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
from support.command_line import finish, plmtrain, start

SHAPE = (
    "model=bert model.layers=1 model.width=16 model.heads=2 model.feed_forward=32 model.positions=32 trainer.threads=1 "
    "trainer.sequence_length=16 trainer.batch_size=8 trainer.steps=8 trainer.save_every=2 tokenizer.vocab_size=120"
).split()
RUN = [*SHAPE, "objective=mlm", "data=text", "data.files=[corpus.txt]", "data.document_per=blank_line", "data.processes=1"]
TASK = [word for word in SHAPE if not word.startswith("trainer.st")]
TASK += "task=classification data.files=[train.tsv] data.validation_files=[dev.tsv] trainer.epochs=2".split()


def documents(count: int) -> list[str]:
    """Sentences of a made-up language."""
    rng = random.Random(1)
    words = ["".join(rng.choices("abcdefghij", k=rng.randint(2, 7))) for _ in range(150)]
    return [
        " ".join(" ".join(rng.choices(words, k=rng.randint(4, 9))).capitalize() + "." for _ in range(8)) for _ in range(count)
    ]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("work")
    (folder / "corpus.txt").write_text("\n\n".join(documents(100)) + "\n")
    for name, count in (("train", 20), ("dev", 8)):
        rows = "".join(f"{text.split('.')[0]}\t{number % 2}\n" for number, text in enumerate(documents(100)[-count:]))
        (folder / f"{name}.tsv").write_text(f"text\tlabel\n{rows}")
    result = plmtrain("pretrain", *RUN, "name=stopped", cwd=folder, fault="train.forward@4:term")
    assert result.code == 75, result.err
    return folder


@pytest.fixture
def work(prepared: Path, tmp_path: Path) -> Path:
    shutil.copytree(prepared, tmp_path / "work", copy_function=shutil.copy2)
    return tmp_path / "work"


def state(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every file below a folder, with its time and content."""
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.rglob("*") if path.is_file()}


def checked(work: Path, *arguments: str) -> dict[str, Any]:
    result = plmtrain("check", *arguments, "--json", cwd=work)
    found: dict[str, Any] = json.loads(result.out)
    assert result.code == found["exit_code"], result.err
    return found


def told(found: dict[str, Any]) -> list[str]:
    return [f"{error['exit_code']}: {error['what']}" for error in found["errors"]]


def test_all_is_well(work: Path) -> None:
    shutil.rmtree(work / "runs")
    result = plmtrain("check", *RUN, "name=new", cwd=work)
    assert result.code == 0, result.err
    assert not (work / "runs").exists()
    lines = result.out.splitlines()
    assert lines[0] == "runs/new"
    assert [line.split()[0] for line in lines[1:] if line[:1].isalpha()] == (
        ["run", "model", "data", "vocabulary", "work", "speed", "memory", "disk", "time", "nothing"]
    )
    assert lines[-1] == "nothing is wrong"


def test_numbers_for_programs(work: Path) -> None:
    found = checked(work, *RUN, "name=new")
    assert found["errors"] == []
    vocabulary, width, inner = found["vocabulary"], 16, 32
    table, layer = (vocabulary + 32 + 2) * width + 2 * width, 4 * width**2 + 2 * width * inner + inner + 9 * width
    assert found["parameters"] == table + layer + width**2 + 3 * width + vocabulary
    assert found["checkpoint_bytes"] == 12 * found["parameters"]
    assert (found["steps"], found["tokens"]) == (8, 8 * 8 * 16)
    assert found["flops"] == 8 * found["flops_per_step"][0] > 0
    assert found["state"] == "new"
    assert found["training_seconds"] > 0


def test_a_run_that_was_begun_goes_on_and_is_left_as_it_is(work: Path) -> None:
    before = state(work / "runs")
    found = checked(work, *RUN, "name=stopped")
    assert (found["errors"], found["state"], found["step"]) == ([], "resumed", 5)
    drifted = checked(work, *RUN, "name=stopped", "optimizer.lr=0.5", "trainer.log_every=3")
    assert drifted["exit_code"] == 2
    assert any("optimizer.lr" in line for line in told(drifted))
    assert any("trainer.log_every" in warning["what"] for warning in drifted["warnings"])
    assert state(work / "runs") == before


def test_everything_wrong_is_told_at_once(work: Path) -> None:
    (work / "rows.jsonl").write_text('{"text": "fine"}\n{"text": 3}\n{"txt": "x"}\n{"text": "half\n')
    found = checked(
        work, *SHAPE, "objective=mlm", "data=jsonl", "data.files=[rows.jsonl,nowhere.jsonl]", "optimizer.lr=-1", "trainer.stpes=3"
    )
    assert found["exit_code"] == 2
    assert [(error["exit_code"], error["where"].rpartition("/")[2]) for error in found["errors"]] == [
        (2, "command line: optimizer.lr=-1"),
        (2, "command line: trainer.stpes=3"),
        (3, "data.files: nowhere.jsonl"),
        (3, "rows.jsonl:2"),
        (3, "rows.jsonl:3"),
        (3, "rows.jsonl:4"),
    ], told(found)


def test_bad_lines_beyond_the_first_are_told_too(work: Path) -> None:
    (work / "bad.txt").write_bytes(b"good\n" + b"\xff\n" * 14)
    found = checked(work, *SHAPE, "objective=mlm", "data=text", "data.files=[bad.txt]")
    assert found["exit_code"] == 3
    assert [error["where"] for error in found["errors"]] == [*(f"bad.txt:{line}" for line in range(2, 12)), "data.files"]
    assert found["errors"][-1]["what"].startswith("4 more lines")


def test_bad_lines_of_parallel_text(work: Path) -> None:
    (work / "pairs.tsv").write_text("en\tde\nsea\tMeer\n\tWasser\nfire\n")
    data = "data=parallel", "data.languages=[en,de]", "data.files=[pairs.tsv]"
    found = checked(work, *SHAPE, "objective=mlm", "optimizer.lr=-1", *data)
    assert [(error["exit_code"], error["where"].rpartition("/")[2]) for error in found["errors"]] == [
        (2, "command line: optimizer.lr=-1"),
        (3, "pairs.tsv:3"),
        (3, "pairs.tsv:4"),
    ], told(found)


def test_examples_of_a_task(work: Path) -> None:
    found = checked(work, *TASK)
    assert found["errors"] == []
    assert (found["train_examples"], found["validation_examples"], found["steps"]) == (20, 8, 5)
    assert found["repetitions"] == ["8 of 8 held-out examples are in the training ones, too"]
    with (work / "train.tsv").open("a") as file:
        file.write("three\tcells\there\nno label\t\n")
    (work / "dev.tsv").write_text("text\tlabel\nfine\t1\nstrange\t7\n")
    found = checked(work, *TASK)
    assert found["exit_code"] == 3
    assert [error["where"] for error in found["errors"]] == ["train.tsv:22", "train.tsv:23", "dev.tsv:3"]


def test_text_that_repeats_itself_and_a_vocabulary_that_is_too_large(work: Path) -> None:
    texts = documents(40)
    (work / "again.txt").write_text("\n\n".join([*texts, *texts[:10]]) + "\n")
    (work / "held.txt").write_text("\n\n".join(texts[:5]) + "\n")
    found = checked(
        work,
        *SHAPE,
        *("objective=mlm", "data=text", "data.files=[again.txt]", "data.validation_files=[held.txt]"),
        *("data.document_per=blank_line", "tokenizer.vocab_size=9999"),
    )
    assert (found["exit_code"], found["duplicates"], found["overlap"]) == (0, 10, 5)
    assert [warning["what"].split(",")[0] for warning in found["warnings"]] == [
        f"the text gives a vocabulary of {found['vocabulary']} tokens",
        "10 of 50 training documents repeat another one",
        "5 of 5 held-out documents are in the training text",
    ]
    assert found["warnings"][0]["where"] == "command line: tokenizer.vocab_size=9999"


def test_an_alphabet_that_the_tokenizer_does_not_know(work: Path) -> None:
    (work / "greek.txt").write_text("\n\n".join(["ουδεν νεωτερον εστι " * 20, "ψωμι και κρασι " * 20] * 5))
    found = checked(work, *SHAPE, "objective=mlm", "data=text", "data.files=[greek.txt]", "tokenizer.path=runs/stopped/tokenizer")
    assert found["unknown_share"] > 0.5
    assert any("unknown to the tokenizer" in warning["what"] for warning in found["warnings"])


def test_a_model_that_no_machine_has_room_for(work: Path) -> None:
    """Neither built nor tried."""
    found = checked(work, *RUN, "model.width=65536", "model.heads=64", "model.feed_forward=262144", "model.layers=96")
    assert found["exit_code"] == 6
    assert 7 in [error["exit_code"] for error in found["errors"]]
    assert found["parameters"] > 10**12
    assert "seconds_per_step" not in found


def test_a_model_that_is_too_deep_to_be_measured(work: Path) -> None:
    """A check ends soon; the rest of it is done."""
    found = checked(work, *RUN, "model.layers=260", "model.width=2")
    assert (found["exit_code"], found["errors"]) == (0, [])
    assert any("too deep to be measured" in warning["what"] for warning in found["warnings"])
    assert "parameters" in found
    assert "seconds_per_step" not in found


def test_rows_that_do_not_fit_together(work: Path) -> None:
    """What fits is named."""
    found = checked(work, *RUN, "trainer.batch_size=1048576", "model.layers=64")
    assert found["exit_code"] == 6
    (error,) = found["errors"]
    assert "trainer.micro_batch_size=" in error["remedy"]


def test_the_estimate_of_memory_is_near_what_is_taken(work: Path) -> None:
    found = checked(
        work,
        *RUN,
        *("model.width=128", "model.heads=4", "model.feed_forward=512", "model.layers=4", "trainer.batch_size=256"),
    )
    assert found["rows_memory_bytes"] > 50e6
    assert 0.7 < found["memory_bytes"] / found["measured_memory_bytes"] < 1.4


def test_phases_and_processes(work: Path) -> None:
    phases = "trainer.phases=[{steps:5},{steps:3,sequence_length:32,batch_size:4,micro_batch_size:1}]"
    found = checked(work, *RUN, phases, "launch.processes=2")
    assert found["errors"] == []
    assert found["tokens"] == 5 * 8 * 16 + 3 * 4 * 32
    assert len(found["seconds_per_step"]) == len(found["flops_per_step"]) == 2
    assert found["flops"] == 5 * found["flops_per_step"][0] + 3 * found["flops_per_step"][1]


def test_a_budget_of_hours(work: Path) -> None:
    """Its steps are those that fit: what they and the validations take adds up to the budget."""
    run = [word for word in RUN if not word.startswith("trainer.steps")]
    found = checked(
        work, *run, "name=new", "trainer.hours=0.1", "trainer.phases=[{share: 0.9, sequence_length: 8}, {share: 0.1}]"
    )
    assert found["errors"] == []
    assert found["training_seconds"] + found["validation_seconds"] == pytest.approx(360, rel=0.02)
    assert found["tokens"] == pytest.approx(8 * found["steps"] * (0.9 * 8 + 0.1 * 16), rel=0.02)


def test_a_run_in_use_and_one_whose_checkpoints_are_damaged(work: Path) -> None:
    owner = start("pretrain", *RUN, "name=live", cwd=work, fault="train.forward@3:hang", name="owner")
    try:
        while not (work / "runs/live/checkpoints/step-00000002").exists():
            assert owner.is_alive()
        found = checked(work, *RUN, "name=live")
    finally:
        assert owner.pid is not None
        os.kill(owner.pid, signal.SIGKILL)
        finish(owner, work)
    assert found["exit_code"] == 2
    assert f"process {owner.pid}" in found["errors"][0]["what"]
    for file in (work / "runs/stopped/checkpoints").rglob("model.safetensors"):
        file.write_bytes(file.read_bytes()[:-1])
    assert told(checked(work, *RUN, "name=stopped")) == ["4: no usable checkpoint"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["-m", "seed=1,2"], "not a sweep"), (["--jsno"], "there is no option"), (["hello"], "is not an override")],
    ids=str,
)
def test_usage(work: Path, arguments: list[str], words: str) -> None:
    result = plmtrain("check", *arguments, cwd=work)
    assert result.code == 2
    assert words in result.err + result.out
