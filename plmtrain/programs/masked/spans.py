"""Masked language modelling on spans: what span masking alone and span masking with boundaries have in common.

Joshi et al. 2020, section 3.1. Rows are single stretches of text, as in section 3.3; there is no second segment.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch

from plmtrain.batch import Batch, Layout
from plmtrain.corruption.span_rows import SpanMaskedRows, SpanMasker
from plmtrain.data.rows.framing import framed
from plmtrain.programs.masked.program import MaskedProgram
from plmtrain.programs.program import Inspection
from plmtrain.settings.spans import SpanSettings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from plmtrain.corruption.masked_rows import FramedRows
    from plmtrain.data.rows.rows import Rows
    from plmtrain.keyed_random import Keys
    from plmtrain.settings.models.base import ModelSettings
    from plmtrain.text.vocabulary import Vocabulary

SettingsT = TypeVar("SettingsT", bound=SpanSettings)


class SpanMasked(MaskedProgram[SettingsT]):
    """Predict the tokens of hidden spans of words."""

    def __init__(self, settings: SettingsT, model: ModelSettings, vocabulary: Vocabulary) -> None:
        super().__init__(settings, model, vocabulary)
        self.mask = SpanMasker(settings, vocabulary)

    def row_length(self, sequence_length: int) -> int:
        return sequence_length - self.format.framing

    def masked(self, rows: Rows, keys: Keys) -> tuple[FramedRows, SpanMaskedRows]:
        """The rows as they are, and with spans hidden."""
        original = framed(rows, self.format, self.vocabulary)
        return original, self.mask(original, rows.text, keys)

    def batch(self, original: FramedRows, masked: SpanMaskedRows, keys: Keys) -> Batch:
        """What the first term of the loss needs."""
        return Batch(
            inputs={"ids": torch.from_numpy(masked.ids)},
            targets={
                "positions": torch.from_numpy(masked.positions),
                "labels": torch.from_numpy(masked.labels),
                "span_tokens": torch.from_numpy(masked.lengths),
                "span_words": torch.from_numpy(masked.words),
            },
            layout=Layout.of(original.real, original.documents),
            samples=torch.from_numpy(keys.samples),
            normalisers={"mlm": float(len(masked.positions))},
        )

    def measures(self, counts: Mapping[str, NDArray[np.float64]]) -> dict[str, float]:
        """``mlm/unseen_loss``: nats a token that a mask stood for, since those left in place can be copied."""
        lost, unseen = counts["mlm/unseen"].tolist()
        return {"mlm/unseen_loss": lost / unseen} if unseen else {}

    def inspect(self, batch: Batch) -> Inspection:
        found = super().inspect(batch)
        lengths = {
            f"span length in {unit}": dict(
                zip(
                    *(part.tolist() for part in np.unique(batch.targets[f"span_{unit}"].numpy(), return_counts=True)), strict=True
                )
            )
            for unit in ("words", "tokens")
        }
        return replace(found, histograms={**found.histograms, **lengths})
