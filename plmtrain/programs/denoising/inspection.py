"""Inspection of noised batches: their rows, and how much was masked, deleted, inserted and moved."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
from numpy.typing import NDArray

from plmtrain.batch import Batch
from plmtrain.corruption.noising import DELETED, FIRST, HIDDEN, INSERTED, MOVED
from plmtrain.programs.inspection import Inspection, Shown
from plmtrain.text.vocabulary import Vocabulary


def noise_inspection(batch: Batch, labels: NDArray[np.int64], vocabulary: Vocabulary, span_mean: float | None) -> Inspection:
    """Show how noise changed a batch.

    Args:
        batch: its targets include the ``origins`` and ``marks`` of ``NoisedRows``.
        labels: [rows, length] the original rows, including padding.
        vocabulary: the vocabulary of the rows.
        span_mean: mean of the Poisson distribution of span lengths, in words; None without infilling.
    """
    ids, origins = batch.inputs.ids.numpy(), batch.targets["origins"].numpy()
    marks = batch.targets["marks"].numpy()
    read = np.ones(ids.shape, np.bool_) if batch.layout.tokens is None else batch.layout.tokens.numpy()
    text = labels != vocabulary["pad"]
    special = vocabulary.is_special.take(labels)
    if "unk" in vocabulary.roles:
        special &= labels != vocabulary["unk"]
    content = text & ~special
    hidden, deleted = content & (marks & HIDDEN != 0), content & (marks & DELETED != 0)
    moved = marks & MOVED != 0
    first = marks & FIRST != 0
    masks = read & (origins < 0)
    words = INSERTED - origins[masks]

    fates = np.select([special, hidden, deleted, moved], ["special", "masked", "deleted", "moved"], "plain")
    was = np.maximum(origins, 0)
    seen = np.select(
        [masks & (ids != vocabulary["mask"]), origins == INSERTED, masks],
        ["random", "inserted", "masked"],
        np.take_along_axis(fates, was, axis=1),
    )
    targets = np.select([special, hidden | deleted], ["special", "target"], "plain")

    def line(tokens: NDArray[np.int64], marked: NDArray[np.str_], kept: NDArray[np.bool_]) -> list[tuple[int, str]]:
        return list(zip(tokens[kept].tolist(), marked[kept].tolist(), strict=True))

    rows = [
        Shown(
            {
                "original": line(labels[row], fates[row], text[row]),
                "input": line(ids[row], seen[row], read[row]),
                "target": line(labels[row], targets[row], text[row]),
            }
        )
        for row in range(len(ids))
    ]
    whole = int(content.sum())
    touched = text & special & (marks & (HIDDEN | DELETED) != 0)
    rates = {
        "hidden": (int(hidden.sum()), whole),
        "deleted": (int(deleted.sum()), whole),
        "masks in the input": (int(masks.sum()), int(read.sum())),
        "inserted, of masks": (int((words == 0).sum()), len(words)),
        "random, of masks": (int((ids[masks] != vocabulary["mask"]).sum()), len(words)),
        "sentences moved": (int((first & moved).sum()), int(first.sum())),
        "specials touched": (int(touched.sum()), int((text & special).sum())),
    }
    notes: tuple[str, ...] = ()
    histograms = {"masks per row": dict(Counter(masks.sum(axis=1).tolist()))}
    if span_mean is not None:
        histograms["words replaced by a mask (0: inserted)"] = dict(Counter(words.tolist()))
        notes = (
            "Spans are drawn until they have the row's share of words. The last one is cut to fit, and spans that touch are "
            "merged: in short rows, which have room for one or two spans, few are as long as the Poisson distribution says.",
        )
        histograms[f"expected from Poisson, mean {span_mean:g}"] = _poisson(len(words), span_mean, int(words.max(initial=0)))
    return Inspection(rows=rows, rates=rates, histograms=histograms, notes=notes)


def _poisson(spans: int, mean: float, most: int) -> dict[int, int]:
    """Return the expected number of spans of each length."""
    return {k: round(spans * math.exp(k * math.log(mean) - mean - math.lgamma(k + 1))) for k in range(most + 1)}
