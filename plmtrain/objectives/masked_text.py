"""T5's BERT-style objective: write a whole row of which some tokens are masked (Raffel et al. 2020, section 3.3.1).

Without random tokens it is the paper's MASS-style objective (section 3.3.2). Each token is drawn by itself. What is not masked
can be copied, so that the loss of the masked tokens alone is measured beside the loss.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from plmtrain.corruption.masking import Replacement
from plmtrain.corruption.noise_spans import independent
from plmtrain.corruption.sentinels import TextParts
from plmtrain.keyed_random import several_row_bits, spread_at
from plmtrain.programs.text_to_text.program import TextToText
from plmtrain.programs.text_to_text.texts import FlatRows, TextPair
from plmtrain.programs.text_to_text.writing import Writing
from plmtrain.settings.objectives.masked_text import MaskedTextSettings

if TYPE_CHECKING:
    from plmtrain.keyed_random import Keys


class MaskedText(TextToText[MaskedTextSettings]):
    """Write a whole row of which some tokens are masked."""

    terms = ("masked_text",)
    ragged = False

    def texts(self, rows: FlatRows, keys: Keys) -> TextPair:
        chosen, whole = self.settings, rows.whole
        random = several_row_bits(("masked", "replacement"), keys)  # [2, rows]
        noise = independent(rows.lengths, chosen.corruption_rate, None, random[0])
        masked = np.flatnonzero(noise)
        row = np.searchsorted(rows.begins, masked, side="right") - 1
        drawn = spread_at(random[1].take(row), masked - rows.begins.take(row))
        read = rows.ids.copy()
        read[masked] = self._replacement(read[masked], drawn)
        return TextPair(read=TextParts(ids=read, lengths=whole.lengths, origins=whole.origins), written=whole, unseen=noise)

    @cached_property
    def _replacement(self) -> Replacement:
        share = self.settings.random_share
        ordinary = self.vocabulary.ordinary_ids
        return Replacement(mask=self.vocabulary["sentinel"], mask_share=1 - share, random_share=share, random_ids=ordinary)

    @cached_property
    def answering(self) -> Writing:
        return Writing(self)
