"""A stream as a user meets it: pretrained, killed, gone on with without its cache, checked, and refused."""

from __future__ import annotations

import json
import os
import shutil
import signal
from hashlib import sha256
from pathlib import Path

import pytest
from support import command_line
from support.command_line import plmtrain, records
from support.tiny_run import in_group
from support.tiny_text import PRETRAIN, documents

PHASES = "trainer.phases=[{steps: 5}, {steps: 3, sequence_length: 24, batch_size: 4}]"
FILES = "data.files=[corpus/*.jsonl]"
RUN = [
    *PRETRAIN,
    "data=stream",
    FILES,
    "data.cache_gb=0.00002",
    "data.validation_fraction=0.2",
    "model.dropout=0",
    "model.attention_dropout=0",
    PHASES,
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a stream of six files, of which the cache holds two or three, and a run that nothing disturbed."""
    work = tmp_path_factory.mktemp("stream")
    (work / "corpus").mkdir()
    texts = documents(32)
    sizes = [12, 3, 4, 3, 6, 4]
    for number, size in enumerate(sizes):
        own, texts = texts[:size], texts[size:]
        (work / "corpus" / f"{number}.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in own))
    (work / "corpus" / "9.jsonl").write_text(json.dumps({"text": "Abc."}) + "\n")
    result = plmtrain("pretrain", *RUN, "name=whole", cwd=work)
    assert result.code == 0, result.err
    assert "corpus/*.jsonl (data=stream): 7 files of " in result.out
    return work


def weights(folder: Path, name: str) -> str:
    return sha256((folder / "runs" / name / "checkpoints" / "step-00000008" / "model.safetensors").read_bytes()).hexdigest()


def test_killed_and_gone_on_with(folder: Path) -> None:
    """In the second phase. Files that changed meanwhile are refused; without the cache, and without what was counted of passed
    files, the run goes on exactly."""
    run = [*RUN, f"tokenizer.path={folder / 'runs' / 'whole' / 'tokenizer'}", "name=again"]
    assert plmtrain("pretrain", *run, "trainer.workers=2", cwd=folder, fault="train.forward@7").code == -signal.SIGKILL
    (cache,) = (folder / "prepared" / "streams").glob("again-*")
    shutil.copytree(folder / "runs" / "again", folder / "copies" / "again")
    assert plmtrain("pretrain", *run, "runs_dir=copies", cwd=folder, fault="train.forward@6").code == -signal.SIGKILL
    (copy,) = {*(folder / "prepared" / "streams").glob("again-*")} - {cache}
    shutil.rmtree(copy)
    shutil.rmtree(cache)
    files = {path: path.read_text() for path in (folder / "corpus").glob("[1-9].jsonl")}
    for path, text in files.items():
        path.write_text(text.replace("a", "b"))
    result = plmtrain("pretrain", *run, cwd=folder)
    assert result.code == 3
    assert "a file of the stream changed during the run" in result.err
    (folder / "corpus" / "1.jsonl").write_text("{}")
    result = plmtrain("pretrain", *run, cwd=folder)
    assert result.code == 2
    assert "the data have changed since the run began\n1.jsonl\n" in result.err
    for path, text in files.items():
        path.write_text(text)
    shutil.rmtree(cache)
    (folder / "runs" / "again" / "data" / "shards.jsonl").unlink()
    result = plmtrain("pretrain", *run, cwd=folder)
    assert result.code == 0, result.err
    assert "resuming from step 6" in result.out
    assert weights(folder, "again") == weights(folder, "whole")
    assert list((folder / "prepared" / "streams").iterdir()) == []


def test_two_processes_wait_for_one_that_prepares(folder: Path) -> None:
    """Started as by torchrun."""

    def act() -> None:
        command_line._run(["pretrain", *run], folder, name=f"rank{os.environ['RANK']}")

    run = [*RUN, f"tokenizer.path={folder / 'runs' / 'whole' / 'tokenizer'}", "name=two"]
    assert in_group(act, 2) == [0, 0], (folder / ".rank0.err").read_text()
    losses = [[record["loss"] for record in records(folder / "runs" / name) if "loss" in record] for name in ("two", "whole")]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_a_check_tells_what_is_known(folder: Path) -> None:
    checked = plmtrain("check", "--json", *RUN, "data.cache_gb=0.000003", cwd=folder)
    assert checked.code == 0, checked.err + checked.out
    told = json.loads(checked.out)
    assert (told["files"], told["cache_bytes"], told["passes"], told["train_tokens"]) == (7, 3000, None, None)
    assert told["bytes"] == sum(path.stat().st_size for path in (folder / "corpus").iterdir())
    assert any("the cache may not hold" in warning["what"] for warning in told["warnings"])


def test_a_first_file_that_cannot_give_held_out_text_is_refused(folder: Path) -> None:
    (folder / "single.jsonl").write_text(json.dumps({"text": " ".join(documents(4))}) + "\n")
    others = [argument for argument in RUN if argument != FILES]
    result = plmtrain("pretrain", *others, "data.files=[single.jsonl,corpus]", cwd=folder)
    assert result.code == 3
    assert "the first file of the stream has too few documents to hold one out\nsingle.jsonl\n" in result.err
    result = plmtrain("prepare", *RUN, "data.format=csv", cwd=folder)
    assert "a '.jsonl' file contains JSON lines, which data.format=csv does not read\ncorpus/0.jsonl\n" in result.err
