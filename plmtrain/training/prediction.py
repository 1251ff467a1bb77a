"""Predictions for whole sets of rows, distributed over all processes; at most one batch of scores is in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plmtrain import stopping
from plmtrain.data.rows.rows import RowSource, by_size
from plmtrain.programs.answering import Answering
from plmtrain.programs.learner import Learner
from plmtrain.training.compilation import uncompiled
from plmtrain.training.group import Group
from plmtrain.training.precision import Precision, autocast


def predict_all(
    answering: Answering[Any],
    learner: Learner,
    rows: RowSource,
    group: Group,
    *,
    batch_size: int,
    micro_batch_size: int | None = None,
    precision: Precision,
    count: int | None = None,
) -> list[dict[str, Any]]:
    """Return the answers for rows, in their order and each once, in every process.

    Args:
        answering: computes the answers.
        learner: in eval mode, on the group's device.
        rows: the rows of the questions.
        group: the processes over which the rows are distributed.
        batch_size: rows in a batch, over all processes.
        micro_batch_size: rows that a process takes at a time; None for all of its share.
        precision: the precision of matrix products.
        count: the number of rows to answer, from the first; all if None.

    Returns:
        The answers; the ``sample`` of each is the index of its row in ``rows``.

    Raises:
        Stopped: if a signal asked for it, in every process.
    """
    count = len(rows) if count is None else min(count, len(rows))
    own: list[dict[str, Any]] = []
    order = by_size(rows, count)
    for first in range(0, count, batch_size):
        if group.anyone_asked_to_stop():
            raise stopping.stopped()
        everyone = order[first : first + batch_size]
        share = np.array_split(everyone, group.size)[group.rank]
        for start in range(0, len(share), size := micro_batch_size or batch_size):
            part = share[start : start + size]
            batch = answering.collate(rows.fetch(part)).to(group.device)
            with autocast(precision, group.device), uncompiled():
                answers = answering.predict(learner, batch)
            own += [{**answer, "sample": int(part[answer["sample"]])} for answer in answers]
    answered = {answer["sample"]: answer for answer in group.gather_json(own)}
    assert len(answered) == count
    return [answered[sample] for sample in sorted(answered)]


def by_example(
    answering: Answering[Any], answers: Sequence[Mapping[str, Any]], owners: NDArray[np.int64]
) -> list[dict[str, Any]]:
    """Merge the answers for rows into answers for examples.

    Args:
        answering: merges them.
        answers: the answers for the first rows, from ``predict_all``.
        owners: [rows] the example of each row, in ascending order.

    Returns:
        The answers for the examples whose rows are all answered, in order.
    """
    ends = np.flatnonzero(np.diff(owners, append=-1)) + 1
    whole = ends[ends <= len(answers)].tolist()
    bare = [{key: value for key, value in answer.items() if key != "sample"} for answer in answers]
    return [answering.merge(bare[start:end]) for start, end in pairwise([0, *whole])]
