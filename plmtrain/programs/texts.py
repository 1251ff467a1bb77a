"""Batches of texts as they are, for questions to a learner: nothing is hidden or changed that the user did not hide."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from plmtrain.batch import Batch, Inputs, Layout
from plmtrain.data.rows.framing import framed

if TYPE_CHECKING:
    from plmtrain.data.rows.row_formats import RowFormat
    from plmtrain.data.rows.rows import Rows
    from plmtrain.text.vocabulary import Vocabulary


def framed_batch(rows: Rows, row_format: RowFormat, vocabulary: Vocabulary) -> Batch:
    """Make texts ready to be read, each as the model's family lays out one text."""
    original = framed(rows, row_format, vocabulary)
    return Batch(
        inputs=Inputs(ids=torch.from_numpy(original.ids), layout=Layout.of(original.real, original.documents)),
        targets={},
        samples=torch.arange(len(rows)),
        normalisers={},
    )
