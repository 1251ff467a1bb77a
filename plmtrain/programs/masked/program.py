"""The base of the objectives that mask tokens of a row and predict them with an encoder.

Each objective defines its own masking and loss. The scoring, counting and inspection of masked tokens are the same for all of
them, and are here. The filling of a user's masks is in ``plmtrain.programs.masked.filling``.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

from torch import Tensor, nn
from torch.nn import functional

from plmtrain.batch import Term
from plmtrain.nn.heads import MaskedLMHead, TiedHead, vocabulary_head
from plmtrain.nn.loss import cross_entropy_sum
from plmtrain.programs import flops
from plmtrain.programs.answering import Answering
from plmtrain.programs.baseline import Baseline, hidden_counts, hidden_measures
from plmtrain.programs.inspection import Inspection
from plmtrain.programs.learner import Scorer
from plmtrain.programs.masked.filling import MaskFilling
from plmtrain.programs.masked.inspection import masked_inspection
from plmtrain.programs.program import Program
from plmtrain.settings.models.encoder import EncoderSettings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from plmtrain.backbones import Backbone
    from plmtrain.batch import Batch, Inputs

SettingsT = TypeVar("SettingsT")
MaskedLearnerT = TypeVar("MaskedLearnerT", bound="MaskedLearner")


class MaskedLearner(Scorer):
    """An encoder and its language-model head.

    Args:
        backbone: the encoder.
        head: the language-model head.
    """

    def __init__(self, backbone: Backbone, head: MaskedLMHead | TiedHead) -> None:
        super().__init__(backbone)
        self.head = head

    @property
    def token_head(self) -> nn.Module:
        return self.head

    def scores(self, hidden: Tensor) -> Tensor:
        """Return the logits over the vocabulary.  # [n, width] -> [n, vocabulary]"""
        logits: Tensor = self.head(hidden, self.backbone.embedding_weight)
        return logits

    def token_scores(self, inputs: Inputs) -> Tensor:
        return self.scores(self.backbone.predicting(inputs, self.head))

    def factors(self, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.head.features(hidden), self.backbone.embedding_weight, self.head.bias


class MaskedProgram(Program[SettingsT, EncoderSettings, MaskedLearnerT]):
    """Predict chosen tokens of a row, most of which are masked."""

    baseline: Baseline | None = Baseline("hidden_loss", "hidden_unigram_loss", "hidden tokens")

    def head(self, backbone: Backbone) -> MaskedLMHead | TiedHead:
        """Build the language-model head of an encoder, with initial weights."""
        return vocabulary_head(self.model, backbone.vocabulary_size)

    def masked_flops(self, batch: Batch, vocabulary: int, read_besides: int = 0) -> int | None:
        """Return the FLOPs of the encoder and of the language-model head; None for an encoder without a closed form.

        Args:
            batch, vocabulary: as in ``flops``.
            read_besides: the positions that other heads read.
        """
        if not isinstance(self.model, EncoderSettings):
            return None
        rows, length = batch.inputs.ids.shape
        predicted = len(batch.targets["positions"])
        head = flops.of_vocabulary_head(self.model, predicted, vocabulary)
        return flops.of_encoder(self.model, rows, length, predicted + read_besides) + head

    @cached_property
    def answering(self) -> Answering[MaskedLearnerT] | None:
        return MaskFilling(self.format, self.vocabulary, longest=self.row_shape(self.model.positions).length)

    def inspect(self, batch: Batch) -> Inspection:
        return masked_inspection(batch, self.vocabulary)

    def mlm_term(self, learner: MaskedLearnerT, batch: Batch, logits: Tensor, weight: float = 1.0) -> Term:
        """Return the loss of the predicted tokens, with its counts in eval mode.

        Args:
            learner: the learner that computed the logits.
            batch: its targets are the ``labels`` at ``positions``.
            logits: [predicted, vocabulary].
            weight: the term's weight in the loss.
        """
        total = cross_entropy_sum(logits, batch.targets["labels"])
        counts = {} if learner.training else self.prediction_counts(batch, logits)
        return Term(total=total, normaliser=batch.normalisers["mlm"], weight=weight, counts=counts)

    def prediction_counts(self, batch: Batch, logits: Tensor) -> dict[str, Tensor]:
        """Count correct predictions, and the loss and the tokens of the hidden targets: those whose input is the mask token.

        Args:
            batch: its targets are the ``labels`` at ``positions``.
            logits: [predicted, vocabulary].
        """
        labels = batch.targets["labels"]
        hidden = batch.inputs.ids.flatten().index_select(0, batch.targets["positions"]) == self.vocabulary["mask"]
        losses = functional.cross_entropy(logits.float(), labels, reduction="none")
        right = (logits.argmax(-1) == labels).sum()
        return {"accuracy": right, **hidden_counts(losses, labels, hidden, logits.shape[1])}

    def measures(self, counts: Mapping[str, NDArray[np.float64]], unigram: NDArray[np.float64] | None) -> dict[str, float]:
        """Compute the loss of the hidden tokens, and that of a unigram model on the same tokens."""
        return hidden_measures("mlm", counts, unigram)
