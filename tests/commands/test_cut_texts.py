"""``plmtrain predict`` says of which texts it reads a part."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.finished_run import TEXTS, finished_run

from plmtrain import cli

LONG, SHORT = " ".join(TEXTS[:3]), "the low fog"


def asked(text: str, task: str) -> str:
    return json.dumps({"context": text, "choice1": "a", "choice2": "b"}) if "multiple_choice" in task else text


@pytest.mark.parametrize(
    "task",
    [
        "model=bart task=sequence_to_sequence",
        "model=bert task=classification task.labels=[a,b]",
        "model=bert task=multiple_choice task.context=context task.choices=[choice1,choice2]",
    ],
)
def test_texts_that_are_cut_are_told(
    task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    finished_run(Path("run"), task.split())
    Path("texts.txt").write_text("".join(f"{asked(text, task)}\n" for text in (SHORT, LONG, SHORT, LONG)))
    capsys.readouterr()
    assert cli.main(["predict", "run", "--json", "--file", "texts.txt"]) == 0
    said = capsys.readouterr()
    assert len(said.out.splitlines()) == 4
    (told,) = [line for line in said.err.splitlines() if "longer" in line]
    assert told.startswith("2 of 4 texts are longer than the ")
    assert told.endswith(" tokens that the run reads, first texts.txt:2: a part was read")
    assert cli.main(["predict", "run", asked(SHORT, task)]) == 0
    assert "longer" not in capsys.readouterr().err
