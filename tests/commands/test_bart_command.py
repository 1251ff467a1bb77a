"""BART as a user meets it: inspected, pretrained, evaluated, and asked to restore text in every way it can write."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
import torch
from support.command_line import plmtrain

import plmtrain as package

TEXT = (
    "model=bart objective=bart model.layers=1 model.width=16 model.heads=2 model.feed_forward=32 model.positions=40 "
    "trainer.sequence_length=32 trainer.batch_size=8 trainer.steps=4 trainer.log_every=1 trainer.evaluate_batches=2 "
    "trainer.threads=1 tokenizer.vocab_size=300 data=text data.files=[corpus.txt] data.document_per=blank_line data.processes=1"
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
    result = plmtrain("pretrain", *TEXT, "name=run", cwd=work)
    assert result.code == 0, result.err
    assert "restored sentences (held-out text)" in result.out
    return work


def test_what_is_measured(folder: Path) -> None:
    records = [json.loads(line) for line in (folder / "runs" / "run" / "metrics.jsonl").read_text().splitlines()]
    trained, held_out = records[0], next(record for record in records if "val/loss" in record)
    assert trained["loss"] == trained["loss/denoising"]
    assert trained["loss/corrupted"] > 0
    assert held_out["val/loss"] == held_out["val/loss/denoising"]
    assert held_out["val/loss/corrupted"] > 0


def test_inspect_shows_what_is_done_to_the_text(folder: Path) -> None:
    result = plmtrain("inspect", *TEXT, "objective.delete=0.1", cwd=folder)
    assert result.code == 0, result.err
    for word in (
        "original",
        "input",
        "target",
        "masked",
        "inserted",
        "deleted",
        "moved",
        "sentences moved",
        "expected from Poisson, mean 3",
    ):
        assert word in result.out


def test_text_is_restored(folder: Path) -> None:
    asked = ["predict", "runs/run", "abc <mask> def.", "gh.", "--json", "--max-new-tokens", "12"]
    answers = {}
    for options in (
        (),
        ("--beams", "3"),
        ("--beams", "2", "--length-penalty", "2", "--no-repeat-ngram", "2", "--early-stopping"),
    ):
        result = plmtrain(*asked, *options, cwd=folder)
        assert result.code == 0, result.err
        lines = [json.loads(line) for line in result.out.splitlines()]
        assert [line["text"] for line in lines] == ["abc <mask> def.", "gh."]
        assert all(isinstance(line["restored"], str) for line in lines)
    for seed in ("1", "1", "2"):
        drawn = plmtrain(
            *asked, "--sample", "--top-k", "50", "--top-p", "0.9", "--temperature", "1.5", "--seed", seed, cwd=folder
        )
        assert drawn.code == 0, drawn.err
        assert answers.setdefault(seed, drawn.out) == drawn.out
    assert answers["1"] != answers["2"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--beams", "0"), ("beams", "0")),
        (("--beams", "many"), ("beams", "many")),
        (("--beams", "2", "--sample"), ("sample draws one text",)),
        (("--temperature", "0"), ("temperature",)),
    ],
)
def test_options_that_cannot_be_are_told(folder: Path, options: tuple[str, ...], told: tuple[str, ...]) -> None:
    result = plmtrain("predict", "runs/run", "abc", *options, cwd=folder)
    assert result.code == 2
    assert all(word in result.err for word in told), result.err
    assert "Traceback" not in result.err


def test_logits_from_python(folder: Path) -> None:
    loaded = package.load(folder / "runs" / "run")
    ids = torch.tensor([[0, 9, 8, 7, 2], [0, 5, 2, 1, 1]])
    mask = (ids != 1).long()
    written = torch.tensor([[2, 0, 9, 8], [2, 0, 5, 2]])
    scores = loaded.logits(ids, mask, decoder_input_ids=written)
    assert scores.shape == (2, 4, loaded.tokenizer.vocabulary.size)
    # Without the decoder's input it is the row itself, moved by one, as in transformers' class.
    moved = torch.tensor([[2, 0, 9, 8, 7], [2, 0, 5, 2, 1]])
    assert torch.equal(loaded.logits(ids, mask), loaded.logits(ids, mask, decoder_input_ids=moved))
    short = loaded.logits(ids[1:, :3], decoder_input_ids=written[1:])
    assert torch.allclose(short, scores[1:], atol=1e-5)  # padding does not matter
