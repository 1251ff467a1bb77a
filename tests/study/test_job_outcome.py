"""What a job's run came to: by which metric each task is judged, what compares, and what a damaged folder leaves open."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import pytest

from plmtrain.files import make_folder, write_json_atomically
from plmtrain.settings.composing.compose import compose
from plmtrain.settings.decode import run_settings
from plmtrain.settings.kinds import FINETUNE, PRETRAIN
from plmtrain.study.job_outcome import up_to_date, with_outcome
from plmtrain.study.run_records import read_run
from plmtrain.study.sweep_record import Record
from plmtrain.training.run_folder import HELD_OUT, REVIEW, RunFolder


def left(path: Path, *overrides: str, described: dict[str, object] | None = None, collapsed: object = None) -> Record:
    """A job with the folder of a finished run, whose second validation is its result."""
    kind = FINETUNE if any(word.startswith("task=") for word in overrides) else PRETRAIN
    words = [*overrides, *(["data.files=[train.tsv]"] if kind is FINETUNE else [])]
    run = RunFolder(path).create()
    run.write_config(run_settings(compose(words, primary=kind.primary), kind).model_dump(mode="json"))
    names = ("accuracy", "f1", "mcc", "pearson", "mse", "chrf", "loss")
    with run.metrics() as metrics:
        for step in (1, 2, 3):
            metrics.write({"step": step, **{f"val/{name}": step / 4 for name in names}})
    run.write_status("finished", 0, result_step=2)
    if described is not None:
        write_json_atomically(make_folder(path / "data") / "manifest.json", described)
    if collapsed is not None:
        write_json_atomically(make_folder(path / HELD_OUT) / REVIEW, {"collapsed": collapsed})
    return Record(job=0, values={}, run=str(path), state="finished")


@pytest.mark.parametrize(
    ("words", "measure", "higher"),
    [
        ("task=classification", "val/accuracy", True),
        ("task=glue/cola", "val/mcc", True),
        ("task=regression", "val/pearson", True),
        ("task=regression task.metrics=[mse,pearson]", "val/mse", False),
        ("task=token_labels task.labels=[O,B-x,I-x]", "val/f1", True),
        ("task=token_labels task.labels=[NOUN,VERB]", "val/accuracy", True),
        ("task=sequence_to_sequence model=bart", "val/chrf", True),
        ("task=sequence_to_sequence model=bart task.metrics=[loss]", "val/loss", False),
        ("model=bert objective=mlm data=sample", "val/loss", False),
    ],
)
def test_each_task_has_a_metric_of_its_own(tmp_path: Path, words: str, measure: str, higher: bool) -> None:
    record = with_outcome(left(tmp_path / "run", *words.split()))
    assert (record.measure, record.higher, record.value) == (measure, higher, 0.5)
    assert record.collapsed is None
    assert (read_run(tmp_path / "run").measure, read_run(tmp_path / "run").value) == (measure, 0.5)


def test_what_compares(tmp_path: Path) -> None:
    """Metrics of the same held-out examples; a loss also of the same tokens, and that of pretraining of one objective."""
    names = map(str, count())

    def measured_on(words: str, **described: object) -> str:
        return with_outcome(left(tmp_path / next(names), *words.split(), described=described or None)).measured_on

    task = "task=classification optimizer.lr=1e-5"
    dev = measured_on(task, held_out="2", tokenizer="a")
    assert dev == measured_on("task=classification model=roberta", held_out="2", tokenizer="b")
    assert dev != measured_on(task, held_out="4", tokenizer="a")
    assert dev != measured_on(f"{task} task.metrics=[f1]", held_out="2", tokenizer="a")
    before = {"sources": {"train": {"x": "1"}, "validation": {}}, "examples": {"train": 9, "validation": 3}}
    split = measured_on(task, **before)
    assert split == measured_on("task=classification", **before)
    assert split != measured_on(task, **{**before, "sources": {"train": {"x": "2"}, "validation": {}}})
    written = "task=sequence_to_sequence model=bart task.metrics=[loss]"
    loss = measured_on(written, held_out="2", tokenizer="a")
    assert loss == measured_on(f"{written} optimizer.lr=1e-5", held_out="2", tokenizer="a")
    assert loss != measured_on(written, held_out="2", tokenizer="b")
    text = "model=bert objective=mlm data=sample"
    assert measured_on(text) == measured_on(f"{text} optimizer.lr=1e-5 data.prepared_dir=x size=tiny")
    assert measured_on(text) != measured_on(f"{text} objective.mask_probability=0.3")
    assert measured_on(text) != measured_on(f"{text} tokenizer.vocab_size=99")
    assert measured_on(text, tokenizer="a") == measured_on(f"{text} init=one", tokenizer="a")
    assert measured_on(text, tokenizer="a") != measured_on(f"{text} init=two", tokenizer="b")
    pupil = "model=distilbert objective=distillation data=sample"
    assert measured_on(f"{pupil} teacher=one") != measured_on(f"{pupil} teacher=two")


@pytest.mark.parametrize(("written", "read"), [(True, True), (False, False), ("yes", None)])
def test_collapse_is_read_from_the_runs_folder(tmp_path: Path, written: object, read: bool | None) -> None:
    assert with_outcome(left(tmp_path / "run", "task=classification", collapsed=written)).collapsed is read


def test_a_damaged_folder_leaves_the_outcome_open(tmp_path: Path) -> None:
    record = left(tmp_path / "run", "task=classification", collapsed=True)
    (tmp_path / "run" / "config.yaml").write_text("a: [")
    assert with_outcome(record).measure == ""
    gone = Record(job=0, values={}, run=str(tmp_path / "gone"), state="failed", metrics={"val/loss": 2.0})
    assert up_to_date(gone) == gone


def test_a_job_is_what_its_run_is_now(tmp_path: Path) -> None:
    finished = left(tmp_path / "run", "task=classification")
    failed = Record(job=0, values={}, run=finished.run, state="failed", exit_code=5, reason="it diverged")
    assert up_to_date(failed) == with_outcome(Record(job=0, values={}, run=finished.run, state="finished", exit_code=0))
    RunFolder(tmp_path / "run").write_status("running")
    running = Record(job=0, values={}, run=finished.run, state="running")
    assert up_to_date(running).state == "killed"
