"""A submission to GLUE: the files, their layout, and a zip file that the runs of all tasks fill one after the other."""

from __future__ import annotations

import json
import zipfile
from itertools import pairwise
from pathlib import Path

import pytest
from support.finished_run import TEXTS, finished_run

from plmtrain import cli
from plmtrain.files import make_folder, write_json_atomically
from plmtrain.interop.glue import TEST_PARTS, submitted
from plmtrain.settings.tasks.classification import ClassificationSettings
from plmtrain.settings.tasks.regression import RegressionSettings


def test_the_files_are_those_that_the_site_takes() -> None:
    """As its page of questions names them."""
    files = {part.file for parts in TEST_PARTS.values() for part in parts}
    assert files == {
        *(
            "AX.tsv",
            "CoLA.tsv",
            "MNLI-m.tsv",
            "MNLI-mm.tsv",
            "MRPC.tsv",
            "QNLI.tsv",
            "QQP.tsv",
            "RTE.tsv",
            "SST-2.tsv",
            "STS-B.tsv",
        ),
        "WNLI.tsv",
    }


def test_labels_are_numbers_or_names_and_scores_within_their_bounds() -> None:
    answers = [{"label": "b"}, {"label": "a"}]
    of = {"name": "t", "text": ("x",), "labels": ("a", "b"), "hub": "nyu-mll/glue"}
    assert submitted(answers, ClassificationSettings(**of, subset="cola")) == "index\tprediction\n0\t1\n1\t0\n"
    unknown = [{"label": None}, *answers[1:]]  # a decoder wrote something else
    assert submitted(unknown, ClassificationSettings(**of, subset="cola")) == "index\tprediction\n0\t0\n1\t0\n"
    assert submitted(answers, ClassificationSettings(**of, subset="qnli")) == "index\tprediction\n0\tb\n1\ta\n"
    task = RegressionSettings(name="t", text=("x",), minimum=0.0, maximum=5.0)
    assert (
        submitted([{"score": score} for score in (5.4, -1, 2.34567, None)], task)
        == "index\tprediction\n0\t5.000\n1\t0.000\n2\t2.346\n3\t0.000\n"
    )


def test_runs_fill_one_zip_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From GLUE's own folders, whose test parts have a header even where the others have none."""
    (tmp_path / "CoLA").mkdir()
    (tmp_path / "CoLA" / "test.tsv").write_text(
        "".join(["index\tsentence\n", *(f"{n}\t{text}\n" for n, text in enumerate(TEXTS))])
    )
    (tmp_path / "RTE").mkdir()
    rows = [f"{n}\t{one}\t{two}\n" for n, (one, two) in enumerate(pairwise(TEXTS))]
    (tmp_path / "RTE" / "test.tsv").write_text("".join(["index\tsentence1\tsentence2\n", *rows]))
    out = tmp_path / "glue.zip"
    for name in ("cola", "rte"):
        finished_run(tmp_path / name, ["model=bert", f"task=glue/{name}", f"task.folder={tmp_path}"])
        assert cli.main(["predict", str(tmp_path / name), "--submission", str(out), "--batch-size", "3"]) == 0
    assert "not in it yet: AX.tsv" in capsys.readouterr().err
    for number, (name, value) in enumerate((("cola", 0.2), ("rte", 0.6), ("rte", 0.5))):
        run = str(tmp_path / name) if number < 2 else "the worse one of two"
        task = {"values": {"task": f"glue/{name}", "seed": str(number)}, "measure": "val/x", "metrics": {"val/x": value}}
        write_json_atomically(
            make_folder(tmp_path / "sweep" / "jobs") / f"{number}.json",
            {"job": number, "run": run, "state": "finished", "higher": True, **task},
        )
    whole = tmp_path / "whole.zip"
    assert cli.main(["predict", str(tmp_path / "sweep"), "--submission", str(whole), "--batch-size", "3"]) == 0
    assert whole.read_bytes() == out.read_bytes()
    capsys.readouterr()
    with zipfile.ZipFile(out) as made:
        assert made.namelist() == ["CoLA.tsv", "RTE.tsv"]
        lines = {name: [line.split("\t") for line in made.read(name).decode().splitlines()] for name in made.namelist()}
    assert cli.main(["predict", str(tmp_path / "cola"), "--json", *TEXTS]) == 0
    labels = [json.loads(line)["label"] for line in capsys.readouterr().out.splitlines()]
    assert lines["CoLA.tsv"] == [
        ["index", "prediction"],
        *([str(n), str(int(label == "acceptable"))] for n, label in enumerate(labels)),
    ]
    assert [line[0] for line in lines["RTE.tsv"]] == ["index", "0", "1", "2"]
    assert {line[1] for line in lines["RTE.tsv"][1:]} <= {"entailment", "not_entailment"}


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["--submission", "x.tsv"], "a submission is a zip file"),
        (
            ["--submission", "x.zip", "a text"],
            "a submission has the answers for the test part of the run's task, and nothing else",
        ),
        (["--submission", "x.zip"], "this run has no test part to submit"),
        (["--submission", "bad.zip"], "this is no zip file of predictions: File is not a zip file"),
    ],
)
def test_what_cannot_be_submitted_is_told(
    words: list[str], what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    of_glue = "bad.zip" in words
    task = ["task=glue/cola", f"task.folder={tmp_path}"] if of_glue else ["task=classification", "task.labels=[a,b]"]
    finished_run(tmp_path / "run", ["model=bert", *task])
    Path("bad.zip").write_text("none")
    Path("test.tsv").write_text("index\tsentence\n0\ta text\n")
    assert cli.main(["predict", "run", *words]) == (3 if of_glue else 2)
    assert capsys.readouterr().err.splitlines()[0] == what
