"""Distillation of a decoder: a small one learns the predictions and the states of a large one (Sanh et al. 2019, section 2; the
authors' code for GPT-2).

As in distillation of an encoder, with the loss of the next tokens instead of that of masked ones. Teacher and student read the
same running text, and each position's predictions are compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from plmtrain.backbones.decoder import Decoder
from plmtrain.programs.causal import CausalLMLearner
from plmtrain.programs.comparison import ComparedLearner, Comparison
from plmtrain.programs.inheritance import inherit
from plmtrain.programs.next_token import NextTokenProgram
from plmtrain.programs.program import Carry, MakeBackbone
from plmtrain.programs.taught import Taught
from plmtrain.settings.objectives.causal_distillation import CausalDistillationSettings

if TYPE_CHECKING:
    from torch import Tensor

    from plmtrain.batch import Batch, Term
    from plmtrain.data.rows.rows import Rows
    from plmtrain.keyed_random import Keys
    from plmtrain.programs.learner import Learner
    from plmtrain.programs.program import AnyProgram
    from plmtrain.settings.models.decoder import DecoderSettings
    from plmtrain.text.vocabulary import Vocabulary


class CausalDistillationLearner(CausalLMLearner, ComparedLearner):
    """A decoder whose states are compared with a teacher's."""


class CausalDistillation(NextTokenProgram[CausalDistillationSettings], Taught):
    """Predict the next tokens, give all tokens the probabilities that the teacher gives them, and have its states."""

    def __init__(self, settings: CausalDistillationSettings, model: DecoderSettings, vocabulary: Vocabulary) -> None:
        super().__init__(settings, model, vocabulary)
        self.comparison = Comparison(settings, model)
        self.terms = ("clm", *self.comparison.of_predictions, *self.comparison.of_states)

    @property
    def texts(self) -> int:
        return 0

    def collate(self, rows: Rows, keys: Keys) -> Batch:
        batch = super().collate(rows, keys)
        compared = self.comparison.normalisers(batch.layout, batch.inputs.ids, batch.inputs.ids.numel())
        return replace(batch, normalisers={**batch.normalisers, **compared})

    def build(self, make: MakeBackbone) -> CausalDistillationLearner:
        backbone = make(self.model)
        assert isinstance(backbone, Decoder)
        learner = CausalDistillationLearner(backbone)
        learner.projection = self.comparison.projection()
        return learner

    def unfit(self, program: AnyProgram, teacher: Learner) -> Iterator[tuple[str, str]]:
        return self.comparison.unfit(teacher)

    def lessons(self, teacher: Learner, batch: Batch) -> Mapping[str, Tensor]:
        return self.comparison.lessons(teacher, batch, None)

    def loss(self, learner: CausalLMLearner, batch: Batch, carry: Carry) -> tuple[dict[str, Term], Carry]:
        assert isinstance(learner, CausalDistillationLearner)
        layers = learner.backbone.encode_layers(batch.inputs)
        terms = {"clm": self.next_term(learner, layers[-1].flatten(0, 1), batch, self.settings.clm_weight)}
        terms |= self.comparison.predictions(learner, layers[-1], batch, None)
        return {**terms, **self.comparison.states(learner, layers, batch)}, carry

    def inherit(self, learner: CausalDistillationLearner, teacher: Learner) -> str:
        return inherit(self.settings, learner, teacher)
