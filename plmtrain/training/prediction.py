"""Answers for whole sets of rows, by all processes together; no more than a batch of scores is ever held."""

from __future__ import annotations

from typing import Any

import numpy as np

from plmtrain import stopping
from plmtrain.data.rows.rows import RowSource
from plmtrain.programs.answering import Answering
from plmtrain.programs.learner import Learner
from plmtrain.training.group import Group
from plmtrain.training.precision import Precision, autocast


def predict_all(
    answering: Answering[Any], learner: Learner, rows: RowSource, group: Group, *, batch_size: int, precision: Precision
) -> list[dict[str, Any]]:
    """Return the answers for all rows, in their order, in every process.

    Args:
        answering: how the learner is asked.
        learner: in eval mode, on the group's device.
        rows: the questions.
        group: the processes that share the rows.
        batch_size: rows at a time, over all processes.
        precision: of matrix products.

    Returns:
        A row's answer has its index in ``rows`` as ``sample``.

    Raises:
        Stopped: if a signal asked for it.
    """
    own: list[dict[str, Any]] = []
    for first in range(0, len(rows), batch_size):
        if group.anyone_asked_to_stop():
            raise stopping.stopped()
        everyone = np.arange(first, min(first + batch_size, len(rows)))
        part = np.array_split(everyone, group.size)[group.rank]
        if len(part):
            batch = answering.collate(rows.fetch(part)).to(group.device)
            with autocast(precision, group.device):
                answers = answering.predict(learner, batch)
            own += [{**answer, "sample": int(part[answer["sample"]])} for answer in answers]
    answered = {answer["sample"]: answer for answer in group.gather_json(own)}
    assert len(answered) == len(rows)
    return [answered[sample] for sample in sorted(answered)]
