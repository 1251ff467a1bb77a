"""Inspection of masked batches."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from plmtrain.batch import Batch
from plmtrain.programs.inspection import Inspection, Shown
from plmtrain.text.vocabulary import Vocabulary


def masked_inspection(batch: Batch, vocabulary: Vocabulary, notes: Sequence[str] = ()) -> Inspection:
    """Show each row before and after masking with its targets, and count how its tokens were changed.

    Args:
        batch: its targets are the ``labels`` at ``positions`` of its flattened rows.
        vocabulary: the vocabulary of the rows.
        notes: facts that the rows do not show.
    """
    shown = batch.inputs.ids.numpy()
    labels, positions = batch.targets["labels"].numpy(), batch.targets["positions"].numpy()
    original = shown.copy()
    original.reshape(-1)[positions] = labels
    real = np.ones(shown.shape, np.bool_) if batch.layout.tokens is None else batch.layout.tokens.numpy()
    special = vocabulary.is_special[original] & real

    read = shown.reshape(-1)[positions]
    kept = read == labels  # includes random tokens that equal the original
    hidden = ~kept & (read == vocabulary["mask"])
    plain = np.where(special, "special", "plain")
    marks = plain.copy().astype("<U8")
    marks.reshape(-1)[positions] = np.select([kept, hidden], ["kept", "masked"], "random")
    targets = np.full(shown.shape, "blank", "<U8")
    targets.reshape(-1)[positions] = "target"

    def line(ids: NDArray[np.int64], marked: NDArray[np.str_], row: int) -> list[tuple[int, str]]:
        return list(zip(ids[row, real[row]].tolist(), marked[row, real[row]].tolist(), strict=True))

    rows = [
        Shown({"original": line(original, plain, row), "input": line(shown, marks, row), "target": line(original, targets, row)})
        for row in range(len(shown))
    ]
    predicted, touched = len(positions), int(special.reshape(-1)[positions].sum())
    sizes, times = np.unique(np.bincount(positions // shown.shape[1], minlength=len(shown)), return_counts=True)
    return Inspection(
        rows=rows,
        rates={
            "predicted": (predicted, int((real & ~special).sum())),
            "masked": (int(hidden.sum()), predicted),
            "random": (predicted - int(hidden.sum()) - int(kept.sum()), predicted),
            "kept": (int(kept.sum()), predicted),
            "specials touched": (touched, int(special.sum())),
        },
        histograms={"predicted per row": dict(zip(sizes.tolist(), times.tolist(), strict=True))},
        notes=notes,
    )
