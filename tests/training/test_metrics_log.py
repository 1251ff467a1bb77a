"""metrics.jsonl: strict JSON, each step once."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from plmtrain.errors import DiskError
from plmtrain.training.metrics_log import MetricsLog


def test_a_line_is_there_when_write_returns(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path / "metrics.jsonl")
    log.write({"step": 1, "loss": 0.1 + 0.2})
    assert json.loads(log.path.read_text()) == {"step": 1, "loss": 0.1 + 0.2}


def test_lines_are_strict_json_even_without_finite_numbers(tmp_path: Path) -> None:
    with MetricsLog(tmp_path / "metrics.jsonl") as log:
        log.write({"step": 1, "loss": math.nan, "grad_norm": -math.inf})
        line = json.loads(log.path.read_text(), parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
        assert math.isnan(float(line["loss"]))
        (record,) = log.records()
        assert math.isnan(record["loss"])
        assert record["grad_norm"] == -math.inf


def test_a_resumed_run_has_each_step_once(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    with MetricsLog(path) as log:
        for step in range(1, 8):
            log.write({"step": step, "loss": 1 / step})
        log.write({"step": 4, "val/loss": 1.0})
    unbroken = [line for line in path.read_bytes().splitlines() if json.loads(line)["step"] <= 5]
    with path.open("ab") as file:
        file.write(b'{"step": 8, "lo')
    with MetricsLog(path) as log:
        log.keep_until(5)
        assert path.read_bytes().splitlines() == unbroken
        log.write({"step": 6})
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [1, 2, 3, 4, 5, 4, 6]


def test_nothing_is_joined_to_half_a_line(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1}\n{"step"')
    with MetricsLog(path) as log:
        log.write({"step": 2})
    assert path.read_text() == '{"step": 1}\n{"step": 2}\n'


def test_a_run_that_never_logged(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path / "metrics.jsonl")
    log.keep_until(3)
    assert list(log.records()) == []


def test_a_folder_that_is_gone_is_a_disk_error(tmp_path: Path) -> None:
    with pytest.raises(DiskError):
        MetricsLog(tmp_path / "gone" / "metrics.jsonl").write({"step": 1})
