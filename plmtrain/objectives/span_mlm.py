"""Masked language modelling on spans of words (Joshi et al. 2020, section 3.1): SpanBERT's masking alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plmtrain.batch import Batch, Term
from plmtrain.programs.masked.program import MaskedLearner
from plmtrain.programs.masked.spans import SpanMasked
from plmtrain.programs.program import Carry, MakeBackbone
from plmtrain.settings.objectives.span_mlm import SpanMLMSettings

if TYPE_CHECKING:
    from plmtrain.data.rows.rows import Rows
    from plmtrain.keyed_random import Keys


class SpanMLM(SpanMasked[SpanMLMSettings, MaskedLearner]):
    """Predict the tokens of masked spans of words from the rest of the row."""

    terms = ("mlm",)
    has_perplexity = True

    def collate(self, rows: Rows, keys: Keys) -> Batch:
        return self.batch(*self.masked(rows, keys), keys)

    def build(self, make: MakeBackbone) -> MaskedLearner:
        backbone = make(self.model)
        return MaskedLearner(backbone, self.head(backbone))

    def loss(self, learner: MaskedLearner, batch: Batch, carry: Carry) -> tuple[dict[str, Term], Carry]:
        hidden = learner.backbone.predicting_at(batch.inputs, learner.head, batch.targets["positions"])  # [predicted, width]
        return {"mlm": self.mlm_term(learner, batch, learner.scores(hidden))}, carry

    def flops(self, batch: Batch, vocabulary: int) -> int | None:
        return self.masked_flops(batch, vocabulary)
