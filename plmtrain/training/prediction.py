"""Predictions for whole sets of rows, distributed over all processes; at most one batch of scores is in memory."""

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
        answering: computes the answers.
        learner: in eval mode, on the group's device.
        rows: the rows of the questions.
        group: the processes over which the rows are distributed.
        batch_size: rows in a batch, over all processes.
        precision: the precision of matrix products.

    Returns:
        The answers; the ``sample`` of each is the index of its row in ``rows``.

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
