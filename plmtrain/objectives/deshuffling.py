"""T5's deshuffling objective: write a row whose tokens are in random order (Raffel et al. 2020, section 3.3.1; Liu et al. 2019).

Every token that the decoder writes is among those that the encoder reads: the loss is below the tokens' unigram loss as soon as
the model has learnt to look for them.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from plmtrain.corruption.masking import LAST
from plmtrain.corruption.sentinels import TextParts
from plmtrain.keyed_random import orders, row_bits
from plmtrain.programs.text_to_text.program import TextToText
from plmtrain.programs.text_to_text.texts import FlatRows, TextPair
from plmtrain.programs.text_to_text.writing import Writing
from plmtrain.settings.objectives.deshuffling import DeshufflingSettings

if TYPE_CHECKING:
    from plmtrain.keyed_random import Keys


class Deshuffling(TextToText[DeshufflingSettings]):
    """Write a row whose tokens are in random order."""

    terms = ("deshuffling",)
    ragged = False

    def texts(self, rows: FlatRows, keys: Keys) -> TextPair:
        width = int(rows.lengths.max(initial=0))
        order = orders(row_bits("shuffled tokens", keys), width)  # [rows, width]
        real = np.arange(width) < rows.lengths[:, None]
        order[~real] = LAST
        origins = (rows.begins[:, None] + np.argsort(order, axis=1))[real]
        read = TextParts(ids=rows.ids.take(origins), lengths=rows.lengths, origins=origins)
        return TextPair(read=read, written=rows.whole, unseen=np.ones(len(rows.ids), np.bool_))

    @cached_property
    def answering(self) -> Writing:
        return Writing(self)
