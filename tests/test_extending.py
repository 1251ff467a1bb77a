"""docs/extending.md, word by word: its files put into a copy of the package, its commands run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.documents import ROOT, blocks, shrunk, words_of, write_files

PAGE = blocks(ROOT / "docs" / "extending.md")

SHAPE = {
    "model.layers": 1,
    "model.width": 16,
    "model.heads": 2,
    "model.feed_forward": 32,
    "model.positions": 32,
    "tokenizer.vocab_size": 300,
    "data": "text",
    "data.files": "[corpus.txt]",
    "data.document_per": "blank_line",
    "data.processes": 1,
    "trainer.sequence_length": 32,
    "trainer.batch_size": 4,
    "trainer.threads": 1,
}
FEW_STEPS = {
    "trainer.threads": 1,
    "trainer.batch_size": 4,
    "trainer.sequence_length": 32,
    "trainer.steps": 4,
    "schedule.warmup": 0,
}
SMALLER = {"inspect": SHAPE, "pretrain": {**SHAPE, "trainer.steps": 4, "schedule.warmup": 0}, "finetune": FEW_STEPS}

COMMANDS = """
import json, sys
from pathlib import Path
import plmtrain
from support.command_line import plmtrain as run
place = Path.cwd()
assert Path(plmtrain.__file__).is_relative_to(place), plmtrain.__file__
results = [run(*command, cwd=place) for command in json.loads(sys.argv[1])]
print(json.dumps([[result.code, result.out, result.err] for result in results]))
"""


def _said(place: Path) -> dict[str, str]:
    """What each command of the page printed, in a folder where the package has the page's files, too."""
    without_caches = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "plmtrain", place / "plmtrain", ignore=without_caches)
    shutil.copytree(ROOT / "conf", place / "conf", ignore=without_caches)
    write_files(PAGE, place)
    sentences = [f"The river {verb} past the {noun}." for verb in ("runs", "flows", "winds") for noun in ("mill", "town", "wood")]
    (place / "corpus.txt").write_text("\n\n".join(" ".join(sentences[start:] + sentences[:start]) for start in range(9)) + "\n")
    rows = [f"{sentence}\t{number % 2}\n" for number, sentence in enumerate(sentences * 3)]
    (place / "train.tsv").write_text("text\tlabel\n" + "".join(rows))
    teams = ("billing", "delivery", "technics")
    tickets = [f"The bill,{sentence},{teams[number % 3]}\n" for number, sentence in enumerate(sentences * 3)]
    (place / "tickets.csv").write_text("subject,body,team\n" + "".join(tickets))

    # The page calls a run of the reader's own runs/ours; here it is the one that the page itself trains.
    lines = [line.replace("runs/ours", "runs/random_tokens") for block in PAGE for line in block.commands]
    lines.sort(key=lambda line: "runs/random_tokens" in line)
    commands = [shrunk(words_of(line)[1:], SMALLER) for line in lines]
    paths = [str(place), str(ROOT / "tests")]
    done = subprocess.run(
        [sys.executable, "-c", COMMANDS, json.dumps(commands)],
        cwd=place,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout.splitlines()[-1])
    assert [line for line, (code, _, _) in zip(lines, results, strict=True) if code] == [], results
    return {line: out + err for line, (_, out, err) in zip(lines, results, strict=True)}


@pytest.mark.slow
def test_the_page(tmp_path: Path) -> None:
    said = _said(tmp_path)
    assert len(said) >= 8
    (inspected,) = (text for line, text in said.items() if "inspect" in line)
    rates = {words[1]: words[3] for words in (line.split() for line in inspected.splitlines()) if len(words) > 4}
    assert 0.1 < float(rates["predicted"]) < 0.2
    assert rates["masked"] == "0.0000"
    assert "specials touched" in inspected
    (listed,) = (text for line, text in said.items() if "list model" in line)
    assert "thin_bert" in listed
    assert "many narrow layers" in listed
    (evaluated,) = (text for line, text in said.items() if "evaluate" in line)
    assert "exchanged/accuracy" in evaluated
    assert "perplexity" not in evaluated
