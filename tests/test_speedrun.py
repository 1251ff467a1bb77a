"""The measures of the speedrun on curves whose values are known."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from plmtrain.settings.composing.compose import compose
from plmtrain.settings.decode import pretrain_settings


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


WORDS = (
    "model=bert model.layers=2 model.width=8 model.heads=2 model.feed_forward=16 tokenizer.vocab_size=120 objective=dynamic_mlm "
    "trainer.steps=5 trainer.batch_size=4 trainer.sequence_length=20"
).split()


def run_of(folder: Path, below: list[float], *words: str) -> Path:
    """A run that is validated each minute, after a million tokens more."""
    lines = []
    for minute, nats in enumerate(below, start=1):
        lines += [
            {"step": minute, "tokens": 1_000_000 * minute, "seconds": 60.0 * minute, "loss": 7.0},
            {"step": minute, "val/hidden_loss": 7.5 - nats, "val/hidden_unigram_loss": 7.5},
        ]
    (folder / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    values = pretrain_settings(compose([*WORDS, *words])).model_dump(mode="json")
    (folder / "config.yaml").write_text(yaml.safe_dump({**values, "resolved": {"vocabulary": 100}}))
    return folder


def test_the_place_is_on_the_line_between_two_validations(speedrun: ModuleType, tmp_path: Path) -> None:
    points = speedrun.read(run_of(tmp_path, [-0.5, 0.5, 1.5, 1.4, 2.4]))
    assert [point.minutes for point in points] == [1, 2, 3, 4, 5]
    first, second = speedrun.reached(points, 1.0), speedrun.reached(points, 2.0)
    assert (first.minutes, first.tokens) == pytest.approx((2.5, 2.5e6))
    assert second.minutes == pytest.approx(4.6)
    assert speedrun.reached(points, 3.0) is None


def test_after_some_minutes_is_the_last_validation_before_and_none_beyond_the_run(speedrun: ModuleType, tmp_path: Path) -> None:
    points = speedrun.read(run_of(tmp_path, [0.1, 0.2, 0.3, 0.4, 0.5]))
    assert speedrun.after(points, 4.5) == pytest.approx(0.4)
    assert speedrun.after(points, 5) == pytest.approx(0.5)
    assert speedrun.after(points, 5.1) is None
    assert speedrun.after(points, 0.5) is None


def test_the_table_has_means_errors_and_what_separates_two(speedrun: ModuleType) -> None:
    def ending(*below: float) -> list[list[object]]:
        return [[speedrun.Point(10.0, 1e6, 1e12, nats)] for nats in below]

    table = speedrun.table({"this": ending(1.4, 1.5, 1.6), "record": ending(1.0, 1.1, 0.9)})
    last = table.splitlines()[-1]
    assert last.split()[:5] == ["nats", "below", "at", "the", "end"]
    # stdev 0.1 of three: 0.0577; Welch's t = 0.5 / sqrt(2 * 0.01 / 3) = 6.124 with 4 degrees of freedom: p = 0.0036
    assert "1.500 ± 0.058" in last
    assert "1.000 ± 0.058" in last
    assert last.endswith("p = 0.0036")
    reached = next(line for line in table.splitlines() if line.startswith("minutes to 1 nats"))
    assert "(1 not)" in reached  # 0.9 is never 1 nat below


def test_flops_are_those_of_all_products_forward_and_twice_backward(speedrun: ModuleType, tmp_path: Path) -> None:
    """Counted by hand for two phases: 3 steps of 8 rows of 10 tokens, 3 of them hidden in each, then 4 rows of 20."""
    phases = "trainer.phases=[{steps: 3, sequence_length: 10, token_factor: 1, objective: {mask_probability: 0.3}}, {steps: 2}]"
    points = speedrun.read(run_of(tmp_path, [0.0] * 5, phases))

    def step(rows: int, length: int, hidden: int) -> int:
        def dense(positions: int, inputs: int, outputs: int) -> int:
            return 2 * positions * inputs * outputs

        def attention() -> int:
            return 2 * rows * dense(length, 8, length)

        def layer(behind: int) -> int:
            return dense(rows * length, 8, 24) + attention() + dense(behind, 8, 8) + dense(behind, 8, 16) + dense(behind, 16, 8)

        return 3 * (layer(rows * length) + layer(hidden) + dense(hidden, 8, 8) + dense(hidden, 8, 100))

    first, second = step(8, 10, 24), step(4, 20, 12)
    assert [point.flops for point in points] == [first, 2 * first, 3 * first, 3 * first + second, 3 * first + 2 * second]
