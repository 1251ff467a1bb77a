"""The two worked examples of the README, run from their first line to their last, at a size that a test can afford."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.command_line import Result, plmtrain
from support.documents import ROOT, blocks, shrunk, words_of, write_files

README = blocks(ROOT / "README.md")

SHAPE = {
    "model.layers": 1,
    "model.width": 16,
    "model.heads": 2,
    "model.feed_forward": 32,
    "model.positions": 40,
    "tokenizer.vocab_size": 400,
    "data.processes": 1,
    "trainer.threads": 1,
    "trainer.batch_size": 4,
    "trainer.sequence_length": 32,
    "trainer.steps": 4,
}
FEW_STEPS = {"trainer.threads": 1, "trainer.batch_size": 4, "trainer.sequence_length": 32, "trainer.steps": 4}
SMALLER = {**dict.fromkeys(("tokenizer", "inspect", "check", "pretrain"), SHAPE), "finetune": FEW_STEPS}

PLACES = ("mill", "town", "wood", "bridge", "church", "harbour", "market")
VERBS = ("runs", "flows", "winds", "falls", "turns")


def _materials(folder: Path) -> None:
    """What the README says that there is."""
    (folder / "corpus").mkdir()
    for number, place in enumerate(PLACES):
        sentences = [
            f"The river {verb} past the {other} and the {place}." for verb in VERBS for other in PLACES if other != place
        ]
        (folder / "corpus" / f"{number}.txt").write_text(" ".join(sentences) + "\n")
    for name, verbs in (("train", VERBS[:3]), ("dev", VERBS[3:4]), ("test", VERBS[4:])):
        rows = [f"The {place} {verb}.\t{('delivery', 'billing')[n % 2]}\n" for verb in verbs for n, place in enumerate(PLACES)]
        (folder / f"{name}.tsv").write_text("text\tteam\n" + "".join(rows))
    (folder / "new-tickets.txt").write_text("Where is my parcel?\nThe bill is wrong.\n")


def _run(heading: str, folder: Path, smaller: dict[str, dict[str, object]]) -> list[tuple[str, Result]]:
    """Every command under a heading in turn, each of which must succeed."""
    done = []
    for line in (line for block in README if block.heading == heading for line in block.commands):
        result = plmtrain(*shrunk(words_of(line)[1:], smaller), cwd=folder)
        assert result.code == 0, f"{line}\n{result.out}\n{result.err}"
        done.append((line, result))
    return done


def test_a_companys_text(tmp_path: Path) -> None:
    heading = "Your own text, from files to a service"
    mine = [block for block in README if block.heading == heading]
    write_files(mine, tmp_path)
    _materials(tmp_path)
    done = _run(heading, tmp_path, SMALLER)
    assert len(done) >= 11

    said = {line.partition(" ")[2].partition("#")[0].strip(): result for line, result in done}
    assert "nothing is wrong" in said["check ours.yaml"].out
    assert "seed" in said["runs diff runs/ours runs/again"].out
    assert {"runs/ours", "runs/again"} <= set(said["runs"].out.split())
    again = [result for line, result in done if line.startswith("plmtrain pretrain")][1]
    assert "is finished" in again.out + again.err
    answers = [json.loads(line) for line in said["predict runs/tickets --json --file new-tickets.txt"].out.splitlines()]
    assert [answer["text"] for answer in answers] == ["Where is my parcel?", "The bill is wrong."]
    assert {answer["label"] for answer in answers} <= {"delivery", "billing"}
    kept = [json.loads(line) for line in (tmp_path / "runs/tickets/predictions.jsonl").read_text().splitlines()]
    assert len(kept) == len(PLACES)
    assert set(kept[0]) == {"text", "expected", "label", "probabilities"}

    code = "\n".join(block.text for block in mine if block.language == "python")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    told = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stderr
    label, shape = told.stdout.splitlines()[-2:]
    assert label in ("delivery", "billing")
    assert shape.startswith("torch.Size([1, ")


@pytest.mark.slow
def test_two_objectives_on_a_laptop(tmp_path: Path) -> None:
    _materials(tmp_path)
    shape = {**SHAPE, "data": "text", "data.files": "[corpus]"}
    done = _run("Two objectives side by side, on a laptop", tmp_path, {"inspect": shape, "pretrain": {**shape, "seed": "1,2"}})
    *shown, (_, sweep) = done
    assert len(shown) == 3
    assert all("specials touched" in result.out for _, result in shown)
    assert sum("│ 2 " in line for line in sweep.out.splitlines()) == 2  # two runs of either objective
