"""Distillation: a small encoder learns the predictions and the states of a large one (Sanh et al. 2019, sections 2 and 3; Jiao et
al. 2020, section 3.1).

Three terms in DistilBERT: the divergence of the student's probabilities of tokens from the teacher's, both softened by a
temperature; the loss of masked language modelling; and one minus the cosine between the last states of both. TinyBERT has others:
the squared differences of the embeddings and of the states of each layer, and those of attention scores. Teacher and student
read the same masked rows. Rare tokens are masked rather than frequent ones. The authors draw the masked tokens from a whole
batch, 0.15 of its tokens rounded up; here each row has its own share, so that a row's mask is the same in any batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, cast

import numpy as np
import torch

from plmtrain.batch import Batch, Inputs, Layout, Term
from plmtrain.corruption.frequency_masking import FrequencyMasker
from plmtrain.data.rows.framing import framed
from plmtrain.programs.comparison import ComparedLearner, Comparison
from plmtrain.programs.inheritance import inherit
from plmtrain.programs.masked.program import MaskedLearner, MaskedProgram
from plmtrain.programs.program import Carry, MakeBackbone
from plmtrain.programs.taught import Taught
from plmtrain.settings.objectives.distillation import DistillationSettings

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from plmtrain.data.rows.rows import Rows
    from plmtrain.keyed_random import Keys
    from plmtrain.programs.answering import Answering
    from plmtrain.programs.learner import Learner
    from plmtrain.programs.program import AnyProgram
    from plmtrain.settings.models.encoder import EncoderSettings
    from plmtrain.text.vocabulary import Vocabulary


class DistillationLearner(MaskedLearner, ComparedLearner):
    """An encoder with a language-model head; ``ComparedLearner`` alone is one without."""


class Distillation(MaskedProgram[DistillationSettings, DistillationLearner], Taught):
    """Predict the chosen tokens, give all tokens the probabilities that the teacher gives them, and have its states."""

    def __init__(self, settings: DistillationSettings, model: EncoderSettings, vocabulary: Vocabulary) -> None:
        super().__init__(settings, model, vocabulary)
        self.mask = FrequencyMasker(settings, vocabulary, counts_special=True)
        self.comparison = Comparison(settings, model)
        predicted = ("mlm",) if settings.token_head else ()
        self.terms = (*self.comparison.of_predictions, *predicted, *self.comparison.of_states)
        if not settings.token_head:
            self.baseline = None

    def collate(self, rows: Rows, keys: Keys) -> Batch:
        original = framed(rows, self.format, self.vocabulary)
        masked = self.mask(original, self._frequencies(rows).take(original.ids), keys)
        real = np.arange(original.ids.size) if original.real is None else np.flatnonzero(original.real)
        ids, layout = torch.from_numpy(masked.ids), Layout.of(original.real, original.documents)
        predicted = len(masked.positions)
        compared = len(real) if self.settings.kl_over == "real" else predicted
        normalisers = self.comparison.normalisers(layout, ids, compared)
        return Batch(
            inputs=Inputs(ids=ids, layout=layout),
            targets={
                "positions": torch.from_numpy(masked.positions),
                "labels": torch.from_numpy(masked.labels),
                "real": torch.from_numpy(real),
            },
            samples=torch.from_numpy(keys.samples),
            normalisers={**normalisers, "mlm": float(predicted)} if self.settings.token_head else normalisers,
        )

    def _frequencies(self, rows: Rows) -> NDArray[np.float64]:
        """Return the frequency of each token; one that the training text lacks is as frequent as the rarest.  # [vocabulary]"""
        known = rows.frequencies
        if known is None:
            return np.ones(self.vocabulary.size)
        frequencies: NDArray[np.float64] = np.maximum(known, known[known > 0].min(initial=1.0))
        return frequencies

    def build(self, make: MakeBackbone) -> DistillationLearner:
        backbone = make(self.model)
        projection = self.comparison.projection()
        learner = DistillationLearner(backbone, self.head(backbone)) if self.settings.token_head else ComparedLearner(backbone)
        learner.projection = projection
        return cast(DistillationLearner, learner)  # without a head, nothing below needs one

    def unfit(self, program: AnyProgram, teacher: Learner) -> Iterator[tuple[str, str]]:
        return self.comparison.unfit(teacher)

    def lessons(self, teacher: Learner, batch: Batch) -> Mapping[str, Tensor]:
        return self.comparison.lessons(teacher, batch, self._compared(batch))

    def _compared(self, batch: Batch) -> Tensor:
        """Return the positions whose probabilities are compared.  # [n]"""
        return batch.targets["real" if self.settings.kl_over == "real" else "positions"]

    def loss(self, learner: DistillationLearner, batch: Batch, carry: Carry) -> tuple[dict[str, Term], Carry]:
        layers = learner.backbone.encode_layers(batch.inputs)
        terms: dict[str, Term] = {}
        if self.settings.token_head:
            terms = self.comparison.predictions(learner, layers[-1], batch, self._compared(batch))
            hidden = layers[-1].flatten(0, 1).index_select(0, batch.targets["positions"])
            terms["mlm"] = self.mlm_term(learner, batch, learner.scores(hidden), self.settings.mlm_weight)
        return {**terms, **self.comparison.states(learner, layers, batch)}, carry

    def measures(self, counts: Mapping[str, NDArray[np.float64]], unigram: NDArray[np.float64] | None) -> dict[str, float]:
        return super().measures(counts, unigram) if self.settings.token_head else {}

    @cached_property
    def answering(self) -> Answering[DistillationLearner] | None:
        return super().answering if self.settings.token_head else None

    def inherit(self, learner: DistillationLearner, teacher: Learner) -> str:
        return inherit(self.settings, learner, teacher)
