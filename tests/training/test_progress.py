"""The record of progress reads back exactly."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plmtrain.errors import CheckpointError
from plmtrain.training.progress import Progress

numbers = st.floats(allow_nan=False)


@given(numbers | st.none(), st.integers(0, 2**53), st.dictionaries(st.text(max_size=5), numbers | st.integers()) | st.none())
def test_round_trip(metric: float | None, step: int, scale: dict[str, Any] | None) -> None:
    progress = Progress(step=step, best_metric=metric, best_step=step, loss_scale=scale)
    text = progress.to_json()
    assert Progress.from_json(text) == progress
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


def test_nan_stays_nan() -> None:
    metric = Progress.from_json(Progress(best_metric=math.nan).to_json()).best_metric
    assert metric is not None
    assert math.isnan(metric)


def test_an_older_record_gets_defaults_and_a_newer_one_is_refused() -> None:
    assert Progress.from_json('{"step": 3}') == Progress(step=3)
    with pytest.raises(CheckpointError, match="quantum"):
        Progress.from_json('{"step": 3, "quantum": 1}')


@pytest.mark.parametrize("text", ["", "[]", "{", "3"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(CheckpointError):
        Progress.from_json(text)
