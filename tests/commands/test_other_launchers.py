"""Sweeps by Hydra's own launchers that really train, in processes that nothing of this test reaches."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

TINY = (
    "model=bert model.layers=1 model.width=16 model.heads=2 model.feed_forward=32 model.positions=32 objective=mlm "
    "trainer.sequence_length=16 trainer.batch_size=4 trainer.steps=2 trainer.threads=1 trainer.evaluate_batches=1 "
    "tokenizer.vocab_size=100 data=text data.files=[corpus.txt] data.document_per=line"
).split()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("launcher", "settings"),
    [("submitit_local", ["hydra.launcher.timeout_min=5"]), ("joblib", ["hydra.launcher.n_jobs=2"])],
)
def test_they_train_what_is_not_finished(tmp_path: Path, launcher: str, settings: list[str]) -> None:
    pytest.importorskip(f"hydra_plugins.hydra_{launcher.removesuffix('_local')}_launcher")
    lines = (f"the mill number {number} stands by the river {number % 7}\n" for number in range(200))
    (tmp_path / "corpus.txt").write_text("".join(lines))
    command = [sys.executable, "-m", "plmtrain", "pretrain", "-m", *TINY, "seed=1,2", f"hydra/launcher={launcher}", *settings]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    runs = [path.parent for path in (tmp_path / "runs").glob("*/status.json")]
    assert len(runs) == 2
    for run in runs:
        assert json.loads((run / "status.json").read_text())["state"] == "finished"
        assert json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])["step"] == 2
    (table,) = (tmp_path / "runs" / "sweeps").rglob("table.csv")
    with table.open(newline="") as file:
        assert [row["state"] for row in csv.DictReader(file)] == ["finished", "finished"]
