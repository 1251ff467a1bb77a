"""What a resumed run says of the machine that it goes on with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from plmtrain.runs.assembly import _environment_changes
from plmtrain.training.run_folder import RunFolder


@pytest.mark.parametrize(
    ("before", "now", "changed"),
    [
        ({"device": "cpu:0", "processes": 2}, {"device": "cpu", "processes": 2}, []),  # as version 0.1 wrote it
        ({"device": "cuda:0"}, {"device": "cuda"}, []),
        ({"device": "cuda:0"}, {"device": "cpu"}, ["device was cuda and is cpu"]),
        ({"threads": 1}, {"threads": 2}, ["threads was 1 and is 2"]),
        ({}, {"kernel": "new"}, []),
    ],
)
def test_only_what_may_change_a_bit_is_told(
    before: dict[str, Any], now: dict[str, Any], changed: list[str], tmp_path: Path
) -> None:
    folder = RunFolder(tmp_path)
    folder.write_config({"seed": 1, "resolved": before})
    assert [line.partition(":")[0] for line in _environment_changes(folder, now)] == changed
