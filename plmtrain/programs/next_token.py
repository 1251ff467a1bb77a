"""The base of objectives in which each position of running text predicts the token that follows it.

A row is a stretch of the corpus with the document-end token after every document, and each position predicts the token that
follows it, the last one the first token of the next row. A position belongs to the document of the token that it predicts: with
isolated documents, the end of one document is the beginning of the next.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch

from plmtrain.batch import Batch, Inputs, Layout
from plmtrain.programs.causal import CausalProgram
from plmtrain.programs.inspection import Inspection, Shown

if TYPE_CHECKING:
    from plmtrain.data.rows.rows import Rows
    from plmtrain.keyed_random import Keys

SettingsT = TypeVar("SettingsT")


class NextTokenProgram(CausalProgram[SettingsT]):
    """Predict each token from those before it."""

    terms = ("clm",)

    def collate(self, rows: Rows, keys: Keys) -> Batch:
        documents = None if rows.documents is None else rows.documents[:, 1:]
        labels = rows.tokens[:, 1:]
        return Batch(
            inputs=Inputs(
                ids=torch.from_numpy(np.ascontiguousarray(rows.tokens[:, :-1])),
                layout=Layout.of(documents=documents, causal=True),
            ),
            targets={"labels": torch.from_numpy(labels.reshape(-1))},
            samples=torch.from_numpy(keys.samples),
            normalisers={"clm": float(labels.size)},
        )

    def inspect(self, batch: Batch) -> Inspection:
        ids = batch.inputs.ids.numpy()
        labels = batch.targets["labels"].numpy().reshape(ids.shape)
        documents = batch.layout.documents
        rows = []
        for row, (read, predicted) in enumerate(zip(ids, labels, strict=True)):
            lines = {"input": self.marked(read, "plain"), "target": self.marked(predicted, "target")}
            if documents is not None and bool((documents[row] != documents[row, 0]).any()):
                first = (documents[row] == documents[row, 0]).numpy()
                lines["first document"] = [
                    pair if own else (pair[0], "blank") for pair, own in zip(lines["input"], first, strict=True)
                ]
            rows.append(Shown(lines))
        ends = labels == self.vocabulary.document_end
        number, times = np.unique(ends.sum(axis=1), return_counts=True)
        return Inspection(
            rows=rows,
            rates={"predicted": (labels.size, labels.size), "document ends": (int(ends.sum()), labels.size)},
            histograms={"documents that end in a row": dict(zip(number.tolist(), times.tolist(), strict=True))},
            notes=["Each target is the token after the input above it, and sees the inputs up to that one."],
        )
