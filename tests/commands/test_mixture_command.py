"""A mixture as a user meets it: inspected, pretrained, evaluated, asked and exported by its parts, and what it refuses."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
import torch
from support.command_line import plmtrain

import plmtrain as package

RUN = (
    "model=bert objective=mixture objective.shares={dynamic_mlm:1,rtd:2,nsp:0} objective.parts.rtd.generator_width=0.5 "
    "model.layers=1 model.width=16 model.heads=2 model.feed_forward=32 model.positions=40 trainer.sequence_length=32 "
    "trainer.batch_size=8 trainer.steps=6 schedule.warmup=0 trainer.log_every=1 trainer.evaluate_batches=2 trainer.threads=1 "
    "trainer.phases=[{steps:3},{steps:3,objective:{shares:{rtd:0,nsp:2}}}] "
    "tokenizer.vocab_size=300 data=text data.files=[corpus.txt] data.document_per=blank_line data.processes=1 "
    "data.validation_fraction=0.3"
).split()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a corpus and a finished run on it."""
    work = tmp_path_factory.mktemp("work")
    rng = random.Random(1)
    words = ["".join(rng.choices("abcdefghij", k=rng.randint(2, 7))) for _ in range(150)]
    documents = [
        " ".join(" ".join(rng.choices(words, k=rng.randint(4, 9))).capitalize() + "." for _ in range(8)) for _ in range(60)
    ]
    (work / "corpus.txt").write_text("\n\n".join(documents) + "\n")
    result = plmtrain("pretrain", *RUN, "name=run", cwd=work)
    assert result.code == 0, result.err
    for title in ("dynamic_mlm: filled masks", "nsp: filled masks", "rtd: replaced tokens"):
        assert title in result.out
    return work


def test_each_step_logs_the_part_that_it_trained(folder: Path) -> None:
    records = [json.loads(line) for line in (folder / "runs" / "run" / "metrics.jsonl").read_text().splitlines()]
    parts = [{key.split("/")[1] for key in record if key.startswith("loss/")} for record in records if "loss" in record]
    assert all(len(trained) == 1 for trained in parts)
    assert set().union(*parts[:3]) <= {"dynamic_mlm", "rtd"}
    assert set().union(*parts[3:]) <= {"dynamic_mlm", "nsp"}
    held_out = records[-1]
    for key in ("val/loss/dynamic_mlm/mlm", "val/loss/nsp/nsp", "val/loss/rtd/rtd", "val/rtd/rtd/auc", "val/loss"):
        assert key in held_out


def test_inspect_shows_the_parts_of_each_phase(folder: Path) -> None:
    result = plmtrain("inspect", *RUN, cwd=folder)
    assert result.code == 0, result.err
    first, second = result.out.split("phase 2")
    assert "rtd: trained in" in first
    assert "nsp: trained in" not in first
    assert "nsp: trained in" in second
    assert "rtd: trained in" not in second


def test_evaluate_measures_all_parts(folder: Path) -> None:
    result = plmtrain("evaluate", "runs/run", "--json", cwd=folder)
    assert result.code == 0, result.err
    found = json.loads(result.out)
    assert {"loss", "loss/dynamic_mlm", "loss/nsp", "loss/rtd", "dynamic_mlm/perplexity"} <= found.keys()


def test_the_part_that_answers_is_told_or_chosen(folder: Path) -> None:
    usual = plmtrain("predict", "runs/run", "--json", "abc [MASK] def", cwd=folder)
    assert usual.code == 0, usual.err
    assert "answers as its part nsp; --part names another: dynamic_mlm, rtd" in usual.err  # the largest share of the last phase
    judged = plmtrain("predict", "runs/run", "--part", "rtd", "--json", "abc def", cwd=folder)
    assert judged.code == 0, judged.err
    assert "tokens" in json.loads(judged.out)
    assert "answers as" not in judged.err
    wrong = plmtrain("predict", "runs/run", "--part", "rdt", "abc", cwd=folder)
    assert wrong.code == 2
    assert "did you mean 'rtd'?" in wrong.err


def test_parts_are_exported_and_loaded(folder: Path) -> None:
    result = plmtrain("export", "runs/run", "masked", "part=dynamic_mlm", cwd=folder)
    assert result.code == 0, result.err
    assert "BertForMaskedLM" in result.out
    ids = torch.tensor([[2, 10, 4, 12, 3]])
    exported = package.load(folder / "masked").logits(ids)
    torch.testing.assert_close(exported, package.load(folder / "runs" / "run", part="dynamic_mlm").logits(ids))
    wrong = plmtrain("export", "runs/run", "other", "part=rtd", cwd=folder)
    assert wrong.code == 2
    assert "rtd/discriminator" in wrong.err


def test_a_mixture_is_checked(folder: Path) -> None:
    result = plmtrain("check", *RUN, "name=other", cwd=folder)
    assert result.code == 0, result.out + result.err


def test_what_a_begun_run_may_not_change(folder: Path) -> None:
    for change, word in (("objective.shares.rtd=3", "resume.allow"), ("objective.parts.rtd.generator_width=1", "another name=")):
        result = plmtrain("pretrain", *RUN, "name=run", change, cwd=folder)
        assert result.code == 2
        assert word in result.err
