"""T5's span corruption: write the spans that were cut out of a row (Raffel et al. 2020, sections 3.1.4 and 3.3.4).

The encoder reads what is kept, with a sentinel for each span; the decoder writes the sentinels, each followed by its span. The
text of a row is so long that the encoder's row has exactly the run's length: no row is padded or cut. Ends of documents are
tokens like any other. Without a mean length, tokens are cut out one by one, as in the paper's baseline; without sentinels as
well, the decoder writes the missing tokens alone (section 3.3.2).
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from plmtrain.corruption import noise_spans
from plmtrain.corruption.sentinels import cut_out, kept
from plmtrain.errors import SettingsError
from plmtrain.keyed_random import several_row_bits
from plmtrain.programs.program import RowShape
from plmtrain.programs.text_to_text.program import TextToText
from plmtrain.programs.text_to_text.texts import FlatRows, TextPair
from plmtrain.programs.text_to_text.writing import Filling, Writing
from plmtrain.settings.objectives.span_corruption import SpanCorruptionSettings

if TYPE_CHECKING:
    from plmtrain.keyed_random import Keys

_SHORTEST = 3
"""The tokens of the shortest part of a text: a kept token, a sentinel and one that was cut out."""


class SpanCorruption(TextToText[SpanCorruptionSettings]):
    """Write the spans that were cut out of a row."""

    terms = ("span_corruption",)

    @property
    def ragged(self) -> bool:  # type: ignore[override]  # of a class elsewhere
        """Whether rows differ in length: not where the number of tokens and spans is exact."""
        return self.settings.mean_span_length is None

    def row_shape(self, sequence_length: int) -> RowShape:
        """Return the shape of the text whose encoder's row is ``sequence_length`` long; the decoder's is not longer.

        Raises:
            SettingsError: if the row is too short for a span, or has more spans than there are sentinels.
        """
        chosen, room = self.settings, sequence_length - self.format.framing
        if room < _SHORTEST:
            raise SettingsError(
                f"a row of {sequence_length} tokens is too short for a span",
                f"objective={chosen.name}",
                f"trainer.sequence_length must be at least {_SHORTEST + self.format.framing}",
            )
        if chosen.mean_span_length is None:
            # No text is longer than itself, as long as each token that is cut out has one sentinel at most.
            length = room - chosen.closing_sentinel
            spans = round(length * chosen.corruption_rate * (1 - chosen.corruption_rate))
        else:
            length = noise_spans.text_length(room, chosen.corruption_rate, chosen.mean_span_length, chosen.closing_sentinel)
            spans = int(noise_spans.counts_of(np.array([length]), chosen.corruption_rate, chosen.mean_span_length)[1][0])
        available = len(self.vocabulary.sentinels)
        if chosen.sentinels and spans + chosen.closing_sentinel > available:
            raise SettingsError(
                f"a row of {sequence_length} tokens has {spans} spans, and the vocabulary has {available} sentinels",
                f"objective={chosen.name}, trainer.sequence_length",
                "use shorter rows, or raise objective.mean_span_length",
            )
        return RowShape(length=length)

    def texts(self, rows: FlatRows, keys: Keys) -> TextPair:
        chosen, marks = self.settings, np.array(self.vocabulary.sentinels) if self.settings.sentinels else None
        random = several_row_bits(("kept pieces", "noise pieces"), keys)  # [2, rows]
        if chosen.mean_span_length is None:
            most = len(self.vocabulary.sentinels) - chosen.closing_sentinel if chosen.sentinels else None
            noise = noise_spans.independent(rows.lengths, chosen.corruption_rate, most, random[0])
        else:
            noise = noise_spans.random_spans(rows.lengths, chosen.corruption_rate, chosen.mean_span_length, random)
        read = kept(rows.ids, rows.lengths, noise, marks)
        written = cut_out(rows.ids, rows.lengths, noise, marks, closing=chosen.closing_sentinel)
        return TextPair(read=read, written=written, unseen=np.ones(len(written.ids), np.bool_))

    @cached_property
    def answering(self) -> Writing:
        return Filling(self) if self.settings.sentinels else Writing(self)
