"""Labels of words: a text that is longer than a row is labelled in windows in prediction, too, as it is in validation."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from support.finished_run import TEXTS, finished_run

from plmtrain import cli
from plmtrain.training.restore import load_run

RUN = ["model=bert", "task=token_labels", "task.labels=[A,B,C]", "task.overlap=6"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    finished_run(folder, RUN)
    return folder


def test_every_word_of_a_long_text_has_the_label_of_its_window(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = load_run(run)
    answering, words = trained.program.answering, " ".join(TEXTS[:3]).split()
    assert answering is not None
    rows = answering.questions([" ".join(words), "the low fog"], trained.tokenizer)
    assert rows.lengths.max() <= answering.longest
    owners = answering.owners(rows)
    assert owners.tolist() == sorted(owners.tolist())
    assert (owners == 0).sum() > 2
    assert (owners == 1).sum() == 1
    answers = answering.predict(trained.learner, answering.collate(rows))
    by_window = [share for answer, owner in zip(answers, owners, strict=True) if owner == 0 for share in answer["probabilities"]]
    assert len(by_window) == len(words)
    capsys.readouterr()
    monkeypatch.setattr("plmtrain.batch.READ_AT_ONCE", 2)  # a long text is not read all at once
    assert cli.main(["predict", str(run), "--json", " ".join(words), "the low fog"]) == 0
    long, short = map(json.loads, capsys.readouterr().out.splitlines())
    assert long["probabilities"] == pytest.approx(by_window, rel=1e-5)
    assert np.unique(by_window).size > len(words) // 2  # words are told apart
    assert (len(long["labels"]), len(short["labels"])) == (len(words), 3)
