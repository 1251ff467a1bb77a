"""What a sweep is said to have come to: statistics by hand, the rule of the best one, and what is told of missing runs."""

from __future__ import annotations

import csv
import io
import math
import statistics
from dataclasses import replace
from pathlib import Path

import pytest

from plmtrain.study.summary_files import as_csv, as_json, as_markdown
from plmtrain.study.sweep_record import Record, final_metrics, read_records
from plmtrain.study.sweep_summary import Summary

SCORES = {"1e-5": (0.81, 0.84, 0.9), "3e-5": (0.5, 0.92, 0.93)}


def job(number: int, rate: str, value: float, *, higher: bool = True, **changes: object) -> Record:
    record = Record(
        job=number,
        values={"optimizer.lr": rate, "seed": str(number % 3)},
        run=f"runs/{number}",
        state="finished",
        exit_code=0,
        metrics={"loss": 0.1, "val/accuracy": value},
        measure="val/accuracy",
        higher=higher,
        measured_on="dev",
        collapsed=value == 0.5,
    )
    return replace(record, **changes)


def jobs(**changes: object) -> list[Record]:
    values = [(rate, score) for rate, scores in SCORES.items() for score in scores]
    return [job(number, rate, score, **changes) for number, (rate, score) in enumerate(values)]


def test_statistics_are_those_of_the_seeds() -> None:
    summary = Summary.of(jobs())
    assert [configuration.values for configuration in summary.configurations] == [{"optimizer.lr": rate} for rate in SCORES]
    for configuration, scores in zip(summary.configurations, SCORES.values(), strict=True):
        own = configuration.metrics["val/accuracy"]
        assert (own.mean, own.median) == pytest.approx((statistics.fmean(scores), sorted(scores)[1]))
        assert own.deviation == pytest.approx(math.sqrt(sum((x - own.mean) ** 2 for x in scores) / 2))
        assert min(scores) <= own.interval[0] < own.mean < own.interval[1] <= max(scores)
    assert [configuration.collapsed for configuration in summary.configurations] == [0, 1]


def test_the_best_has_the_best_median_and_a_lower_one_of_an_error() -> None:
    """The means say the opposite: one run of the other configuration collapsed."""
    assert Summary.of(jobs()).best.values == {"optimizer.lr": "3e-5"}
    assert Summary.of(jobs(higher=False)).best.values == {"optimizer.lr": "1e-5"}
    told = "\n".join(Summary.of(jobs()).notes())
    assert "* the best by val/accuracy: optimizer.lr=3e-5, median 0.9200" in told
    assert "Validation alone chose it" in told
    assert "mean difference is -0.0667" in told
    assert "they do not separate the two, as far as so few seeds tell" in told
    assert "1 run collapsed" in told


def test_the_order_of_jobs_breaks_no_tie_before_the_mean() -> None:
    tied = [job(0, "a", 0.5), job(1, "a", 0.7), job(2, "a", 0.8), job(3, "b", 0.6), job(4, "b", 0.7), job(5, "b", 0.8)]
    assert Summary.of(tied).best.values == {"optimizer.lr": "b"}
    equal = Summary.of([*tied[:3], *(job(n, "b", value) for n, value in ((3, 0.8), (4, 0.5), (5, 0.7)))])
    assert equal.best is None
    assert any("median and mean of optimizer.lr=a and of optimizer.lr=b are equal" in note for note in equal.notes())


def test_a_configuration_with_missing_runs_is_never_the_best_and_is_told() -> None:
    some = jobs()
    some[4] = replace(some[4], state="failed", exit_code=5, reason="the gradient of step 3 is not finite")
    summary = Summary.of([*some, *(job(n, "2e-5", 0.6) for n in (6, 7, 8))])
    assert summary.best.values == {"optimizer.lr": "1e-5"}
    failed = summary.configurations[1]
    assert (len(failed.jobs), len(failed.finished)) == (3, 2)
    assert failed.metrics["val/accuracy"].mean == pytest.approx((0.5 + 0.93) / 2)
    told = "\n".join(summary.notes())
    assert "job 5 (optimizer.lr=3e-5 seed=1) failed with exit code 5: the gradient of step 3 is not finite" in told
    assert "the same command again runs what is missing" in told
    assert "2 of 3" in as_markdown(summary)
    alone = Summary.of(some)
    assert alone.best is None
    assert any("no configuration is the best: all runs of 1 configuration finished" in note for note in alone.notes())


def test_an_undefined_metric_has_no_statistics_and_is_told(tmp_path: Path) -> None:
    lines = [{"step": 1, "val/accuracy": 0.5, "val/mse": 2.0}, {"step": 2, "val/accuracy": math.nan, "val/mse": 1.0}]
    assert final_metrics(lines) == {"val/mse": 1.0}
    some = jobs()
    some[2] = replace(some[2], metrics=final_metrics(lines))
    for record in some:
        record.write(tmp_path / f"{record.job}.json")
    summary = Summary.of(read_records(tmp_path))
    assert list(summary.jobs) == some
    assert "val/accuracy" not in summary.configurations[0].metrics
    assert summary.best is None
    assert any("job 3 (optimizer.lr=1e-5 seed=2) has no val/accuracy" in note for note in summary.notes())


@pytest.mark.parametrize("change", [{"measured_on": "other examples"}, {"measure": "val/f1"}])
def test_what_was_measured_otherwise_does_not_compare(change: dict[str, str]) -> None:
    some = jobs()
    summary = Summary.of([*some[:3], *(replace(record, **change) for record in some[3:])])
    assert summary.best is None
    assert any("no configuration is the best: they were measured" in note for note in summary.notes())


def test_the_files_say_the_same() -> None:
    summary = Summary.of(jobs())
    rows = list(csv.DictReader(io.StringIO(as_csv(summary))))
    whole = as_json(summary)
    table = [line.split("|")[1:-1] for line in as_markdown(summary).splitlines() if line.startswith("|")]
    headings, _, *lines = [[cell.strip() for cell in line] for line in table]
    for row, told, cells in zip(rows, whole["configurations"], lines, strict=True):
        own, written = told["metrics"]["val/accuracy"], dict(zip(headings, cells, strict=True))
        assert row["optimizer.lr"] == told["values"]["optimizer.lr"] == written["optimizer.lr"]
        assert (
            float(row["val/accuracy median"]) == own["median"] == pytest.approx(float(written["val/accuracy median"]), abs=5e-5)
        )
        assert (float(row["val/accuracy low"]), float(row["val/accuracy high"])) == own["interval"]
        assert int(row["collapsed"]) == told["collapsed"] == int(written["collapsed"])
    assert [row["best"] for row in rows] == ["0", "1"]
    assert whole["best"] == {"optimizer.lr": "3e-5"}
    assert whole["configurations"][0]["by_seed"] == dict(zip("012", SCORES["1e-5"], strict=True))
    assert lines[1][0] == "*"
