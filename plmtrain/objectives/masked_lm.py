"""Masked language modelling: predict a share of a row's tokens, most of which are hidden.

Devlin et al. 2019, section 3.1 (Task 1) and appendix A.1; with noise that is new in every epoch, Liu et al. 2019, section 4.1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from torch import nn

from plmtrain.batch import Batch, Layout, Term
from plmtrain.corruption.masked_rows import Masker
from plmtrain.data.rows.framing import framed
from plmtrain.nn.loss import cross_entropy_sum
from plmtrain.programs.masked.program import MaskedLearner, MaskedProgram
from plmtrain.programs.program import Carry, MakeBackbone
from plmtrain.settings.objectives.masked_lm import MaskedLMSettings

if TYPE_CHECKING:
    from plmtrain.data.rows.rows import Rows
    from plmtrain.keyed_random import Keys
    from plmtrain.settings.models.base import ModelSettings
    from plmtrain.text.vocabulary import Vocabulary


class MaskedLM(MaskedProgram[MaskedLMSettings]):
    """Predict the tokens that were chosen, from the row that the rest of them stand in.

    Special tokens are never chosen: neither those that frame a row, nor document ends, nor unknown tokens. BERT's code spares
    the first two kinds alone, RoBERTa's none; predicting them teaches nothing.
    """

    terms = ("mlm",)

    def __init__(self, settings: MaskedLMSettings, model: ModelSettings, vocabulary: Vocabulary) -> None:
        super().__init__(settings, model, vocabulary)
        self.mask = Masker(settings, vocabulary)

    def row_length(self, sequence_length: int) -> int:
        return sequence_length - self.format.framing

    def collate(self, rows: Rows, keys: Keys) -> Batch:
        original = framed(rows, self.format, self.vocabulary)
        masked = self.mask(original, keys)
        return Batch(
            inputs={"ids": torch.from_numpy(masked.ids)},
            targets={"positions": torch.from_numpy(masked.positions), "labels": torch.from_numpy(masked.labels)},
            layout=Layout.of(original.real, original.documents),
            samples=torch.from_numpy(keys.samples),
            normalisers={"mlm": float(len(masked.positions))},
        )

    def build(self, make: MakeBackbone) -> MaskedLearner:
        backbone = make(self.model)
        return MaskedLearner(backbone, self.token_head(backbone))

    def loss(self, learner: nn.Module, batch: Batch, carry: Carry) -> tuple[dict[str, Term], Carry]:
        learner = cast(MaskedLearner, learner)
        hidden = learner.backbone.encode_at(batch.inputs["ids"], batch.layout, batch.targets["positions"])  # [predicted, width]
        logits = learner.scores(hidden)  # [predicted, vocabulary]
        labels = batch.targets["labels"]
        total = cross_entropy_sum(logits, labels)
        counts = {} if learner.training else {"accuracy": (logits.argmax(-1) == labels).sum()}
        return {"mlm": Term(total=total, normaliser=batch.normalisers["mlm"], counts=counts)}, carry
