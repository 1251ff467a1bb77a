"""Masked language modelling: predict a share of a row's tokens, most of which are masked.

Devlin et al. 2019, section 3.1 (Task 1) and appendix A.1. With new masks in every epoch, Liu et al. 2019, section 4.1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from plmtrain.batch import Batch, Inputs, Layout, Term
from plmtrain.corruption.masked_rows import Masker
from plmtrain.corruption.ngrams import NgramMasker
from plmtrain.data.rows.framing import framed
from plmtrain.programs.masked.program import MaskedLearner, MaskedProgram
from plmtrain.programs.program import Carry, MakeBackbone
from plmtrain.settings.objectives.masked_lm import MaskedLMSettings

if TYPE_CHECKING:
    from plmtrain.data.rows.rows import Rows
    from plmtrain.keyed_random import Keys
    from plmtrain.settings.models.encoder import EncoderSettings
    from plmtrain.text.vocabulary import Vocabulary


class MaskedLM(MaskedProgram[MaskedLMSettings, MaskedLearner]):
    """Predict the chosen tokens from the rest of their row.

    Special tokens are never chosen: not cls and sep, not document ends, and not unknown tokens. BERT's code excludes only the
    first two kinds, RoBERTa's none; nothing is learnt by predicting them.
    """

    terms = ("mlm",)
    has_perplexity = True

    def __init__(self, settings: MaskedLMSettings, model: EncoderSettings, vocabulary: Vocabulary) -> None:
        super().__init__(settings, model, vocabulary)
        self.mask = (
            Masker(settings, vocabulary) if settings.max_ngram == 1 else NgramMasker(settings, vocabulary, settings.max_ngram)
        )

    def collate(self, rows: Rows, keys: Keys) -> Batch:
        original = framed(rows, self.format, self.vocabulary)
        masked = self.mask(original, keys)
        return Batch(
            inputs=Inputs(ids=torch.from_numpy(masked.ids), layout=Layout.of(original.real, original.documents)),
            targets={"positions": torch.from_numpy(masked.positions), "labels": torch.from_numpy(masked.labels)},
            samples=torch.from_numpy(keys.samples),
            normalisers={"mlm": float(len(masked.positions))},
        )

    def build(self, make: MakeBackbone) -> MaskedLearner:
        backbone = make(self.model)
        return MaskedLearner(backbone, self.head(backbone))

    def loss(self, learner: MaskedLearner, batch: Batch, carry: Carry) -> tuple[dict[str, Term], Carry]:
        hidden = learner.backbone.predicting_at(batch.inputs, learner.head, batch.targets["positions"])  # [predicted, width]
        return {"mlm": self.mlm_term(learner, batch, learner.scores(hidden))}, carry

    def flops(self, batch: Batch, vocabulary: int) -> int | None:
        return self.masked_flops(batch, vocabulary)
