"""Nothing depends on the hash seed: a killed run goes on with the labels, the settings and the tokens that it began with."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

CHILD = """
import json, sys
from pathlib import Path
from plmtrain.data.tables.labelled import gather, rows_of_files
from plmtrain.data.tables.readers import reader_of
from plmtrain.errors import SettingsErrors
from plmtrain.settings.composing.compose import compose
from plmtrain.settings.data import TableSettings
from plmtrain.settings.decode import FINETUNE, PRETRAIN, run_settings
from plmtrain.settings.identity import run_name
from plmtrain.settings.tasks.classification import ClassificationSettings
from plmtrain.text.readers import Skips

task = ClassificationSettings(name="t", text=("text",))
data = TableSettings(files=(sys.argv[1],), validation_files=(sys.argv[1],))
reader, skips = reader_of(task), Skips()
examples = gather(reader, data, rows_of_files(reader, data, skips), skips)
findings = [finding.what for finding in examples.reader.findings(examples.splits)]

def told(kind, *words):
    try:
        return run_name(run_settings(compose(words, None, kind.primary), kind))
    except SettingsErrors as errors:
        return [str(error) for error in errors.errors]

print(json.dumps([
    examples.reader.task.labels, examples.digest(), findings,
    told(PRETRAIN, "data=sample", "size=tiny"),
    told(PRETRAIN, "data=sample", "objective=mixture", "objective.shares={mlm: 1, rtd: 2, whole_word_mlm: 1}"),
    told(PRETRAIN, "data=sample", "model.widht=3", "trainer.stesp=1", "optimizer.lr=-1", "seed=x", "model.heads=7"),
    told(FINETUNE, "task=classification", "data.files=[a.tsv]", "task.labels=[b,b]", "task.txet=a"),
]))
"""


def test_three_seeds_give_the_same(tmp_path: Path) -> None:
    """Labels of equal size were in another order in a third of the starts, and the run could not be resumed."""
    labels = ["1", "01", "-0", "0", "00", "\uff11", "\u0661", "2", "002"]
    table = tmp_path / "a.tsv"
    table.write_text("text\tlabel\n" + "".join(f"a {number}\t{label}\n" for number, label in enumerate(labels)), "utf-8")
    children = [
        subprocess.Popen(
            [sys.executable, "-c", CHILD, str(table)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for seed in ("0", "1", "2")
    ]
    ends = [child.communicate(timeout=120) for child in children]
    assert [child.returncode for child in children] == [0, 0, 0], ends
    assert ends[0][0] == ends[1][0] == ends[2][0]
    assert ends[0][0].count("there is no setting") >= 2
