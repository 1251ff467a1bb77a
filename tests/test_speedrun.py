"""The measures of the speedrun on curves whose values are known."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def speedrun() -> ModuleType:
    path = Path(__file__).parents[1] / "scripts" / "speedrun.py"
    spec = importlib.util.spec_from_file_location("speedrun", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["speedrun"] = module  # where dataclasses look for it
    spec.loader.exec_module(module)
    return module


def metrics(folder: Path, below: list[float]) -> Path:
    """A run that is validated each minute, after a million tokens more."""
    path = folder / "metrics.jsonl"
    lines = []
    for minute, nats in enumerate(below, start=1):
        lines += [
            {"step": minute, "tokens": 1_000_000 * minute, "seconds": 60.0 * minute, "loss": 7.0},
            {"step": minute, "val/hidden_loss": 7.5 - nats, "val/hidden_unigram_loss": 7.5},
        ]
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return path


def test_the_place_is_on_the_line_between_two_validations(speedrun: ModuleType, tmp_path: Path) -> None:
    points = speedrun.read(metrics(tmp_path, [-0.5, 0.5, 1.5, 1.4, 2.4]))
    assert [point.minutes for point in points] == [1, 2, 3, 4, 5]
    first, second = speedrun.reached(points, 1.0), speedrun.reached(points, 2.0)
    assert (first.minutes, first.tokens) == pytest.approx((2.5, 2.5e6))
    assert second.minutes == pytest.approx(4.6)
    assert speedrun.reached(points, 3.0) is None


def test_after_some_minutes_is_the_last_validation_before_and_none_beyond_the_run(speedrun: ModuleType, tmp_path: Path) -> None:
    points = speedrun.read(metrics(tmp_path, [0.1, 0.2, 0.3, 0.4, 0.5]))
    assert speedrun.after(points, 4.5) == pytest.approx(0.4)
    assert speedrun.after(points, 5) == pytest.approx(0.5)
    assert speedrun.after(points, 5.1) is None
    assert speedrun.after(points, 0.5) is None


def test_the_table_has_means_errors_and_what_separates_two(speedrun: ModuleType) -> None:
    def ending(*below: float) -> list[list[object]]:
        return [[speedrun.Point(10.0, 1e6, nats)] for nats in below]

    table = speedrun.table({"this": ending(1.4, 1.5, 1.6), "record": ending(1.0, 1.1, 0.9)})
    last = table.splitlines()[-1]
    assert last.split()[:5] == ["nats", "below", "at", "the", "end"]
    # stdev 0.1 of three: 0.0577; Welch's t = 0.5 / sqrt(2 * 0.01 / 3) = 6.124 with 4 degrees of freedom: p = 0.0036
    assert "1.500 ± 0.058" in last
    assert "1.000 ± 0.058" in last
    assert last.endswith("p = 0.0036")
    reached = next(line for line in table.splitlines() if line.startswith("minutes to 1 nats"))
    assert "(1 not)" in reached  # 0.9 is never 1 nat below
