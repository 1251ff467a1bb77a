"""SpanBERT (Joshi et al. 2020): spans of words are predicted token by token, and once more from their boundaries alone.

Section 3.1, span masking; section 3.2, the span boundary objective. Both losses are means here, each over its own targets, as in
the authors' code (which counts one target more in the second, so that it never divides by zero); the paper adds them up by token.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from plmtrain.batch import Batch, Term
from plmtrain.corruption.span_rows import boundary_targets
from plmtrain.nn.boundary import SpanBoundaryHead
from plmtrain.nn.heads import MaskedLMHead, TiedHead
from plmtrain.nn.loss import cross_entropy_sum
from plmtrain.programs.masked.program import MaskedLearner
from plmtrain.programs.masked.spans import SpanMasked
from plmtrain.programs.program import Carry, Inspection, MakeBackbone
from plmtrain.settings.models.encoder import EncoderSettings
from plmtrain.settings.objectives.spanbert import SpanBERTSettings

if TYPE_CHECKING:
    from plmtrain.backbones import Backbone
    from plmtrain.data.rows.rows import Rows
    from plmtrain.keyed_random import Keys


class SpanBERTLearner(MaskedLearner):
    """An encoder with a head for tokens, and one for what lies between two of them.

    Args:
        backbone: the encoder.
        head: scores hidden states against its token embeddings.
        boundary_head: scores pairs of hidden states against them.
    """

    def __init__(self, backbone: Backbone, head: MaskedLMHead | TiedHead, boundary_head: SpanBoundaryHead) -> None:
        super().__init__(backbone, head)
        self.boundary_head = boundary_head

    def boundary_scores(self, left: Tensor, right: Tensor, places: Tensor) -> Tensor:
        """Logits over the vocabulary.  # [n, width], [n, width], [n] -> [n, vocabulary]"""
        logits: Tensor = self.boundary_head(left, right, places, self.backbone.embedding_weight)
        return logits


class SpanBERT(SpanMasked[SpanBERTSettings]):
    """Predict the tokens of hidden spans of words, and again from the two tokens beside each span.

    Spans that touch the end of a row, or of a document within it, have no second prediction.
    """

    terms = ("mlm", "sbo")

    def collate(self, rows: Rows, keys: Keys) -> Batch:
        original, masked = self.masked(rows, keys)
        batch, found = self.batch(original, masked, keys), boundary_targets(masked, self.settings.boundary_targets)
        arrays = {"left": found.left, "right": found.right, "spans": found.spans, "places": found.places}
        arrays["boundary_labels"] = masked.labels.take(found.predicted)
        return replace(
            batch,
            targets={**batch.targets, **{name: torch.from_numpy(array) for name, array in arrays.items()}},
            normalisers={**batch.normalisers, "sbo": float(len(found.predicted))},
        )

    def build(self, make: MakeBackbone) -> SpanBERTLearner:
        model = cast(EncoderSettings, self.model)
        backbone = make(model)
        boundary_head = SpanBoundaryHead(
            backbone.width,
            backbone.embedding_width,
            backbone.vocabulary_size,
            model.activation,
            model.norm_eps,
            places=self.settings.boundary_targets,
            place_width=self.settings.position_width,
            initial_std=model.initial_std,
            initial_truncated=model.initial_truncated,
        )
        return SpanBERTLearner(backbone, self.token_head(backbone), boundary_head)

    def loss(self, learner: nn.Module, batch: Batch, carry: Carry) -> tuple[dict[str, Term], Carry]:
        learner = cast(SpanBERTLearner, learner)
        targets = batch.targets
        parts = [targets["positions"], targets["left"], targets["right"]]
        hidden = learner.backbone.encode_at(batch.inputs["ids"], batch.layout, torch.cat(parts))
        inner, left, right = torch.split(
            hidden, [len(part) for part in parts]
        )  # [predicted, width], twice [bounded spans, width]
        logits = learner.scores(inner)  # [predicted, vocabulary]
        left, right = (state.index_select(0, targets["spans"]) for state in (left, right))  # each [targets, width]
        guesses = learner.boundary_scores(left, right, targets["places"])  # [targets, vocabulary]
        totals = cross_entropy_sum(logits, targets["labels"]), cross_entropy_sum(guesses, targets["boundary_labels"])
        counts: tuple[dict[str, Tensor], ...] = ({}, {})
        if not learner.training:
            counts = self.unseen_counts(batch, logits), {"accuracy": (guesses.argmax(-1) == targets["boundary_labels"]).sum()}
        weights = 1.0, self.settings.boundary_weight
        return {
            name: Term(total=total, normaliser=batch.normalisers[name], weight=weight, counts=found)
            for name, total, weight, found in zip(self.terms, totals, weights, counts, strict=True)
        }, carry

    def inspect(self, batch: Batch) -> Inspection:
        found, targets = super().inspect(batch), batch.targets
        rates = {
            "spans with boundaries": (len(targets["left"]), len(targets["span_tokens"])),
            "predicted from boundaries": (len(targets["boundary_labels"]), len(targets["labels"])),
        }
        return replace(found, rates={**found.rates, **rates})
