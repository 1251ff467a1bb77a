"""Objectives on pairs as a user meets them: inspected, prepared, pretrained over two lengths, evaluated, asked, and refused."""

from __future__ import annotations

import json
import random
from itertools import pairwise
from pathlib import Path

import pytest
from support.command_line import plmtrain

SHAPE = (
    "model.layers=1 model.width=16 model.heads=2 model.feed_forward=32 model.positions=64 trainer.sequence_length=48 "
    "trainer.batch_size=8 trainer.steps=6 trainer.log_every=1 trainer.evaluate_batches=4 trainer.threads=1 "
    "tokenizer.vocab_size=300 data=text data.document_per=blank_line data.validation_fraction=0.1 data.processes=1"
).split()
PHASES = "trainer.phases=[{steps:4,sequence_length:24,objective:{max_predictions:3}},{steps:2}]"
NSP = [*SHAPE, "model=bert", "objective=nsp", "data.files=[corpus.txt]", PHASES]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a corpus, a single document, and a finished run on the first."""
    work = tmp_path_factory.mktemp("work")
    rng = random.Random(1)
    words = ["".join(rng.choices("abcdefghij", k=rng.randint(2, 7))) for _ in range(150)]
    documents = [
        " ".join(" ".join(rng.choices(words, k=rng.randint(4, 9))).capitalize() + "." for _ in range(12)) for _ in range(60)
    ]
    (work / "corpus.txt").write_text("\n\n".join(documents) + "\n")
    (work / "one.txt").write_text(" ".join(documents) + "\n")
    result = plmtrain("pretrain", *NSP, "name=run", cwd=work)
    assert result.code == 0, result.err
    return work


def test_both_lengths_are_cut_and_read(folder: Path) -> None:
    (pairs,) = folder.glob("prepared/*/pairs")
    names = sorted(place.name.rpartition("-")[0] for place in pairs.iterdir() if place.is_dir())
    assert names == ["train-next-21", "train-next-45", "validation-next-21", "validation-next-45"]
    records = [json.loads(line) for line in (folder / "runs" / "run" / "metrics.jsonl").read_text().splitlines()]
    trained = [record for record in records if "val/loss" not in record]
    read = [later["tokens"] - earlier["tokens"] for earlier, later in pairwise(trained)]
    assert all(step <= 8 * 24 for step in read[:3])
    assert all(8 * 24 < step <= 8 * 48 for step in read[3:])
    held_out = next(record for record in records if "val/loss" in record)
    assert held_out["val/loss"] == pytest.approx(held_out["val/loss/mlm"] + held_out["val/loss/nsp"])
    assert 0 <= held_out["val/nsp/balanced_accuracy"] <= 1


def test_a_finished_run_is_used(folder: Path) -> None:
    result = plmtrain("evaluate", "runs/run", "--json", cwd=folder)
    assert result.code == 0, result.err
    assert {"loss/nsp", "nsp/accuracy", "hidden_loss", "hidden_unigram_loss"} <= json.loads(result.out).keys()
    result = plmtrain("predict", "runs/run", "abc def.\tghi abc.", "abc [MASK].", "abc [MASK].\tabc.", "--json", cwd=folder)
    assert result.code == 0, result.err
    answers = [json.loads(line) for line in result.out.splitlines()]
    assert ["next" in answer for answer in answers] == [True, False, True]
    assert [len(answer["masks"]) for answer in answers] == [0, 1, 1]
    result = plmtrain("predict", "runs/run", "abc def.", cwd=folder)
    assert result.code == 3
    assert "there is no mask to fill" in result.err


def test_inspect_and_prepare(folder: Path) -> None:
    system = [*SHAPE, "model=bert", "objective=sop", "data.files=[corpus.txt]"]
    result = plmtrain("inspect", *system, cwd=folder)
    assert result.code == 0, result.err
    for word in ("original (swapped)", "original (in_order)", "pairs swapped", "rows not full", "[SEP]"):
        assert word in result.out
    result = plmtrain("prepare", *system, "trainer.sequence_length=32", cwd=folder)
    assert result.code == 0, result.err
    assert list(folder.glob("prepared/*/pairs/train-order-29-*"))


def test_albert_trains_with_lamb(folder: Path) -> None:
    system = "model=albert model.embedding_width=8 objective=sop optimizer=lamb tokenizer.type=wordpiece tokenizer.family=bert"
    result = plmtrain("pretrain", *SHAPE, *system.split(), "data.files=[corpus.txt]", "name=albert", cwd=folder)
    assert result.code == 0, result.err
    assert "filled masks" in result.out


def test_one_document_is_refused(folder: Path) -> None:
    system = [*SHAPE, "model=bert", "objective=nsp", "data.files=[one.txt]", "data.document_per=file"]
    result = plmtrain("pretrain", *system, "name=one", cwd=folder)
    assert result.code == 3
    lines = result.err.strip().splitlines()[-3:]
    assert lines[0] == (
        "next sentence prediction takes half of all second segments from another document, but the training text has 1"
    )
    assert "objective=sop" in lines[2]


def test_documents_cannot_be_isolated(folder: Path) -> None:
    result = plmtrain("pretrain", *NSP, "data.isolate_documents=true", cwd=folder)
    assert result.code == 2
    assert "data.isolate_documents" in result.err
