"""Masked language modelling on spans of words (Joshi et al. 2020, section 3.1): SpanBERT's masking alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from torch import nn

from plmtrain.batch import Batch, Term
from plmtrain.nn.loss import cross_entropy_sum
from plmtrain.programs.masked.program import MaskedLearner
from plmtrain.programs.masked.spans import SpanMasked
from plmtrain.programs.program import Carry, MakeBackbone
from plmtrain.settings.objectives.span_mlm import SpanMLMSettings

if TYPE_CHECKING:
    from plmtrain.data.rows.rows import Rows
    from plmtrain.keyed_random import Keys


class SpanMLM(SpanMasked[SpanMLMSettings]):
    """Predict the tokens of hidden spans of words, from what is left of the row."""

    terms = ("mlm",)

    def collate(self, rows: Rows, keys: Keys) -> Batch:
        return self.batch(*self.masked(rows, keys), keys)

    def build(self, make: MakeBackbone) -> MaskedLearner:
        backbone = make(self.model)
        return MaskedLearner(backbone, self.token_head(backbone))

    def loss(self, learner: nn.Module, batch: Batch, carry: Carry) -> tuple[dict[str, Term], Carry]:
        learner = cast(MaskedLearner, learner)
        hidden = learner.backbone.encode_at(batch.inputs["ids"], batch.layout, batch.targets["positions"])  # [predicted, width]
        logits = learner.scores(hidden)  # [predicted, vocabulary]
        total = cross_entropy_sum(logits, batch.targets["labels"])
        counts = {} if learner.training else self.unseen_counts(batch, logits)
        return {"mlm": Term(total=total, normaliser=batch.normalisers["mlm"], counts=counts)}, carry
