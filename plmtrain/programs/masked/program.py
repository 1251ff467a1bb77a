"""The base of the objectives that mask tokens of a row and predict them with an encoder.

Each objective defines its own masking and loss. The scoring, counting and inspection of masked tokens are the same for all of
them, and are here. The filling of a user's masks is in ``plmtrain.programs.masked.filling``.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from plmtrain.batch import Term
from plmtrain.nn.heads import MaskedLMHead, TiedHead, vocabulary_head
from plmtrain.nn.loss import cross_entropy_sum
from plmtrain.programs.answering import Answering
from plmtrain.programs.inspection import Inspection
from plmtrain.programs.learner import Learner
from plmtrain.programs.masked.filling import MaskFilling
from plmtrain.programs.masked.inspection import masked_inspection
from plmtrain.programs.program import Baseline, Program
from plmtrain.settings.models.encoder import EncoderSettings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from plmtrain.backbones import Backbone
    from plmtrain.batch import Batch, Inputs

SettingsT = TypeVar("SettingsT")
MaskedLearnerT = TypeVar("MaskedLearnerT", bound="MaskedLearner")


class MaskedLearner(Learner):
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
        return self.scores(self.backbone.encode(inputs))


class MaskedProgram(Program[SettingsT, EncoderSettings, MaskedLearnerT]):
    """Predict chosen tokens of a row, most of which are masked."""

    baseline = Baseline("hidden_loss", "hidden_unigram_loss", "hidden tokens")

    def head(self, backbone: Backbone) -> MaskedLMHead | TiedHead:
        """Build the language-model head of an encoder, with initial weights."""
        return vocabulary_head(self.model, backbone.vocabulary_size)

    @cached_property
    def answering(self) -> Answering[MaskedLearnerT]:
        return MaskFilling(self.format, self.vocabulary, longest=self.row_shape(self.model.positions).length)

    def inspect(self, batch: Batch) -> Inspection:
        return masked_inspection(batch, self.vocabulary)

    def mlm_term(self, learner: MaskedLearnerT, batch: Batch, logits: Tensor) -> Term:
        """Return the loss of the predicted tokens, with its counts in eval mode.

        Args:
            learner: the learner that computed the logits.
            batch: its targets are the ``labels`` at ``positions``.
            logits: [predicted, vocabulary].
        """
        total = cross_entropy_sum(logits, batch.targets["labels"])
        counts = {} if learner.training else self.prediction_counts(batch, logits)
        return Term(total=total, normaliser=batch.normalisers["mlm"], counts=counts)

    def prediction_counts(self, batch: Batch, logits: Tensor) -> dict[str, Tensor]:
        """Count correct predictions, and the loss and the tokens of the hidden targets.

        A target is hidden where its input is the mask token. A tenth of the targets are unchanged in the input and can be
        copied, so the loss over all targets flatters a model that has learnt only to copy.

        Args:
            batch: its targets are the ``labels`` at ``positions``.
            logits: [predicted, vocabulary].
        """
        labels = batch.targets["labels"]
        hidden = batch.inputs.ids.flatten().index_select(0, batch.targets["positions"]) == self.vocabulary["mask"]
        losses = functional.cross_entropy(logits.float(), labels, reduction="none")
        return {
            "accuracy": (logits.argmax(-1) == labels).sum(),
            "hidden": torch.stack([losses.masked_fill(~hidden, 0.0).sum(), hidden.sum()]),
            "hidden_tokens": torch.bincount(labels[hidden], minlength=logits.shape[1]),
        }

    def measures(self, counts: Mapping[str, NDArray[np.float64]], unigram: NDArray[np.float64] | None) -> dict[str, float]:
        """Compute ``hidden_loss``, in nats per hidden token, and ``hidden_unigram_loss``, the loss of a unigram model on the
        same tokens."""
        total, hidden = counts["mlm/hidden"].tolist()
        if not hidden:
            return {}
        return {"hidden_loss": total / hidden, **unigram_loss("hidden_unigram_loss", counts["mlm/hidden_tokens"], unigram)}


def unigram_loss(name: str, tokens: NDArray[np.float64], unigram: NDArray[np.float64] | None) -> dict[str, float]:
    """Return the mean loss of a unigram model on some tokens.

    Args:
        name: the name of the measure.
        tokens: [embedded tokens] the count of each token.
        unigram: [vocabulary] as in ``Program.measures``; if None, the result is empty.
    """
    if unigram is None or not tokens.sum():
        return {}
    return {name: float(tokens[: len(unigram)] @ unigram / tokens.sum())}
