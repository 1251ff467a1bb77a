"""What jobs of a sweep came to: the metrics of the result, and mean and spread over seeds."""

from __future__ import annotations

import math
import statistics
from pathlib import Path

import pytest

from plmtrain.settings.lookup import task_classes
from plmtrain.study.sweep_record import Aim, Record, final_metrics, read_records, spreads

AIMS = {
    "classification": ({"text": "a", "labels": ["x", "y"], "metrics": ["f1"]}, Aim("val/f1", higher=True)),
    "regression": ({"text": "a", "metrics": ["mse"]}, Aim("val/mse", higher=False)),
    "sequence_to_sequence": ({"text": "a", "metrics": ["loss", "bleu"]}, Aim("val/loss", higher=False)),
    # The labels that a run finds in its data decide how they are scored.
    "token_labels": ({"labels": ["B-x", "O"]}, Aim("val/f1", higher=True)),
}
"""For each type of task some of its settings, and what chooses a run's result with them."""


def record(job: int, **metrics: float) -> Record:
    values = {"task": "glue/stsb", "seed": str(job)}
    return Record(job=job, values=values, state="finished", metrics={f"val/{name}": value for name, value in metrics.items()})


def test_the_selected_metric_has_mean_and_spread_over_seeds() -> None:
    scores = (0.81, 0.84, 0.90)
    (spread,) = spreads([record(job, pearson=score, mse=1 - score) for job, score in enumerate(scores)])
    assert (spread.seeds, spread.values) == (3, {"task": "glue/stsb"})
    assert spread.mean["val/pearson"] == pytest.approx(statistics.fmean(scores))
    assert spread.deviation["val/pearson"] == pytest.approx(math.sqrt(sum((score - 0.85) ** 2 for score in scores) / 2))


def test_an_undefined_metric_is_left_open_and_not_filled_with_an_older_one(tmp_path: Path) -> None:
    lines = [{"step": 1, "val/pearson": 0.5, "val/mse": 2.0}, {"step": 2, "val/pearson": math.nan, "val/mse": 1.0}]
    metrics = final_metrics(lines)
    assert metrics == {"val/mse": 1.0}
    assert final_metrics(lines, step=1) == {"val/pearson": 0.5, "val/mse": 2.0}
    jobs = [Record(job=0, values={"seed": "0"}, state="finished", metrics=metrics), record(1, pearson=0.5, mse=1.5)]
    for job in jobs:
        job.write(tmp_path / f"{job.job}.json")
    assert read_records(tmp_path) == jobs
    assert spreads([jobs[0], Record(job=1, values={"seed": "1"}, state="finished", metrics=jobs[1].metrics)])[0].mean == {
        "val/mse": 1.25
    }


@pytest.mark.parametrize("task", sorted(task_classes()))
def test_the_jobs_of_every_type_of_task_compare_by_what_chooses_their_results(task: str) -> None:
    settings, aim = AIMS[task]
    whole = task_classes()[task].model_validate({"type": task, "name": "any", **settings})
    assert Aim.of_task(whole.model_dump(mode="json")) == aim


def test_words_without_names_are_compared_by_their_accuracy() -> None:
    task = {"type": "token_labels", "name": "pos", "labels": ["NOUN", "VERB"]}
    assert Aim.of_task(task) == Aim("val/accuracy", higher=True)
