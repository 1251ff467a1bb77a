"""The base of masked language modelling on spans, with and without the span boundary objective.

Joshi et al. 2020, section 3.1. A row is a single segment of text, as in section 3.3.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch

from plmtrain.batch import Batch, Inputs, Layout
from plmtrain.corruption.span_rows import SpanMaskedRows, SpanMasker
from plmtrain.data.rows.framing import framed
from plmtrain.programs.inspection import Inspection
from plmtrain.programs.masked.program import MaskedLearner, MaskedProgram
from plmtrain.settings.spans import SpanSettings

if TYPE_CHECKING:
    from plmtrain.corruption.framed_rows import FramedRows
    from plmtrain.data.rows.rows import Rows
    from plmtrain.keyed_random import Keys
    from plmtrain.settings.models.encoder import EncoderSettings
    from plmtrain.text.vocabulary import Vocabulary

SettingsT = TypeVar("SettingsT", bound=SpanSettings)
LearnerT = TypeVar("LearnerT", bound=MaskedLearner)


class SpanMasked(MaskedProgram[SettingsT, LearnerT]):
    """Predict the tokens of masked spans of words."""

    def __init__(self, settings: SettingsT, model: EncoderSettings, vocabulary: Vocabulary) -> None:
        super().__init__(settings, model, vocabulary)
        self.mask = SpanMasker(settings, vocabulary)

    def masked(self, rows: Rows, keys: Keys) -> tuple[FramedRows, SpanMaskedRows]:
        """Return the framed rows, and the same with spans masked."""
        original = framed(rows, self.format, self.vocabulary)
        return original, self.mask(original, rows.text, keys)

    def batch(self, original: FramedRows, masked: SpanMaskedRows, keys: Keys) -> Batch:
        """Make the batch for the first term of the loss."""
        return Batch(
            inputs=Inputs(ids=torch.from_numpy(masked.ids), layout=Layout.of(original.real, original.documents)),
            targets={
                "positions": torch.from_numpy(masked.positions),
                "labels": torch.from_numpy(masked.labels),
                "span_tokens": torch.from_numpy(masked.lengths),
                "span_words": torch.from_numpy(masked.words),
            },
            samples=torch.from_numpy(keys.samples),
            normalisers={"mlm": float(len(masked.positions))},
        )

    def inspect(self, batch: Batch) -> Inspection:
        inspection = super().inspect(batch)
        lengths = {
            f"span length in {unit}": dict(
                zip(
                    *(part.tolist() for part in np.unique(batch.targets[f"span_{unit}"].numpy(), return_counts=True)), strict=True
                )
            )
            for unit in ("words", "tokens")
        }
        return replace(inspection, histograms={**inspection.histograms, **lengths})
