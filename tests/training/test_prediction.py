"""Whole sets are answered once, in order, by however many processes."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from support.memory_rows import VOCABULARY
from support.tiny_run import in_child, in_group
from support.tiny_task import examples, program

from plmtrain import backbones
from plmtrain.training.group import Group
from plmtrain.training.prediction import predict_all


def answering(folder: Path, count: int) -> Callable[[], None]:
    def act() -> None:
        torch.set_num_threads(1)
        task = program()
        torch.manual_seed(0)
        learner = task.build(lambda model: backbones.build(model, VOCABULARY.size)).eval()
        group = Group("cpu", 60, 1)
        rows = examples(count, task.row_shape(14).length)
        answers = predict_all(task.answering, learner, rows, group, batch_size=4, precision="fp32")
        (folder / f"{group.size}-{group.rank}.json").write_text(json.dumps(answers))

    return act


@pytest.mark.parametrize("count", [13, 1])  # a last batch of one row leaves a process without any
def test_one_process_or_three_give_the_same_answers(tmp_path: Path, count: int) -> None:
    assert in_child(answering(tmp_path, count)) == 0
    assert in_group(answering(tmp_path, count), 3) == [0, 0, 0]
    alone = json.loads((tmp_path / "1-0.json").read_text())
    assert [answer["sample"] for answer in alone] == list(range(count))
    for rank in range(3):
        together = json.loads((tmp_path / f"3-{rank}.json").read_text())
        assert [answer["label"] for answer in together] == [answer["label"] for answer in alone]
        for one, other in zip(alone, together, strict=True):
            assert one["probabilities"] == pytest.approx(other["probabilities"], abs=1e-6)


def test_a_signal_to_one_process_stops_all(tmp_path: Path) -> None:
    def stopped() -> None:
        if os.environ["RANK"] == "1":
            os.kill(os.getpid(), signal.SIGTERM)
        answering(tmp_path, 13)()

    assert in_group(stopped, 2) == [75, 75]
    assert not list(tmp_path.iterdir())


def test_json_of_any_length_is_gathered(tmp_path: Path) -> None:
    def act() -> None:
        group = Group("cpu", 60, 1)
        own = [{"rank": group.rank, "text": "é" * 50 * group.rank}] * group.rank
        (tmp_path / f"{group.rank}.json").write_text(json.dumps(group.gather_json(own)))

    assert in_group(act, 3) == [0, 0, 0]
    expected = [{"rank": rank, "text": "é" * 50 * rank} for rank in (1, 2, 2)]
    assert [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(3)] == [expected] * 3
