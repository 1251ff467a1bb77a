"""The table of a suite: scores and averages by hand, over seeds and for each combination of other keys."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping

import pytest

from plmtrain.study.suite_summary import Suite
from plmtrain.study.sweep_record import Record

SCORES: Mapping[tuple[str, str], tuple[float | None, ...]] = {
    ("glue/mrpc", "1e-5"): (0.5, 0.7),
    ("glue/mrpc", "3e-5"): (0.4, 0.5),
    ("glue/rte", "1e-5"): (0.6, 0.6),
    ("glue/rte", "3e-5"): (0.8, 0.9),
    ("glue/wnli", "1e-5"): (0.3, 0.3),
    ("glue/wnli", "3e-5"): (0.5, 0.5),
}


def jobs(scores: Mapping[tuple[str, str], tuple[float | None, ...]] = SCORES) -> list[Record]:
    """MRPC has two metrics, of which one is 0.1 above the mean and the other below."""
    records = []
    for (task, rate), values in scores.items():
        spread = 0.1 if task == "glue/mrpc" else 0.0
        names = ("val/f1", "val/accuracy") if spread else ("val/accuracy",)
        for seed, value in enumerate(values):
            measured = {} if value is None else {"val/f1": value + spread, "val/accuracy": value - spread}
            records.append(
                Record(
                    job=len(records),
                    values={"task": task, "optimizer.lr": rate, "seed": str(seed)},
                    run=f"runs/{len(records)}",
                    state="finished",
                    metrics={**measured, "val/loss": 3.0},
                    measure=names[0],
                    higher=True,
                    measures=names,
                )
            )
    return records


def test_a_task_counts_once_with_the_mean_of_its_metrics_and_seeds() -> None:
    suite = Suite.of(jobs())
    assert suite is not None
    rows = {row["optimizer.lr"]: row for row in csv.DictReader(io.StringIO(suite.as_csv()))}
    expected = {"1e-5": (0.6, 0.6, 0.3), "3e-5": (0.45, 0.85, 0.5), "the best of each": (0.6, 0.85, 0.5)}
    assert rows.keys() == expected.keys()
    for rate, (mrpc, rte, wnli) in expected.items():
        own = {key: float(rows[rate][key]) for key in ("mrpc", "rte", "wnli", "average", "without wnli")}
        averages = {"average": (mrpc + rte + wnli) / 3, "without wnli": (mrpc + rte) / 2}
        assert own == pytest.approx({"mrpc": mrpc, "rte": rte, "wnli": wnli, **averages})
    assert suite.best_runs() == {"glue/mrpc": "runs/1", "glue/rte": "runs/7", "glue/wnli": "runs/10"}


def test_there_is_no_average_while_a_task_is_missing() -> None:
    suite = Suite.of(jobs({**SCORES, ("glue/rte", "1e-5"): (0.6, None)}))
    assert suite is not None
    first, second, best = suite.lines
    assert (first.average, first.average_without, best.average) == (None, None, None)
    assert second.average == pytest.approx(0.6)
    assert "glue/rte" in suite.notes()[-1]


def test_tasks_of_no_suite_have_no_such_table() -> None:
    one = {key: value for key, value in SCORES.items() if key[0] == "glue/rte"}
    assert Suite.of(jobs(one)) is None
    assert Suite.of(jobs({**SCORES, ("superglue/cb", "1e-5"): (0.1,)})) is None
    assert Suite.of(jobs({**one, ("nsmc", "1e-5"): (0.1,)})) is None
    assert Suite.of([]) is None
