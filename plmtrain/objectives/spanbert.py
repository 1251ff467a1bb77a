"""SpanBERT (Joshi et al. 2020): the tokens of masked spans are predicted, and again from the boundaries of the spans alone.

Section 3.1, span masking; section 3.2, the span boundary objective. Each loss is a mean over its own targets, as in the authors'
code (which adds one to the number of targets of the second to avoid a division by zero); the paper sums both for each token.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from plmtrain.batch import Batch, Term
from plmtrain.corruption.span_rows import boundary_targets
from plmtrain.nn.boundary import SpanBoundaryHead
from plmtrain.nn.heads import MaskedLMHead, TiedHead
from plmtrain.nn.loss import cross_entropy_sum
from plmtrain.programs.inspection import Inspection, Shown
from plmtrain.programs.masked.program import MaskedLearner
from plmtrain.programs.masked.spans import SpanMasked
from plmtrain.programs.program import Carry, MakeBackbone
from plmtrain.settings.objectives.spanbert import SpanBERTSettings

if TYPE_CHECKING:
    from plmtrain.backbones import Backbone
    from plmtrain.data.rows.rows import Rows
    from plmtrain.keyed_random import Keys


class SpanBERTLearner(MaskedLearner):
    """An encoder with a language-model head, and a span boundary head.

    Args:
        backbone: the encoder.
        head: the language-model head.
        boundary_head: predicts a token from the hidden states of two boundaries.
    """

    def __init__(self, backbone: Backbone, head: MaskedLMHead | TiedHead, boundary_head: SpanBoundaryHead) -> None:
        super().__init__(backbone, head)
        self.boundary_head = boundary_head

    def boundary_scores(self, left: Tensor, right: Tensor, places: Tensor) -> Tensor:
        """Return the logits over the vocabulary.  # [n, width], [n, width], [n] -> [n, vocabulary]"""
        logits: Tensor = self.boundary_head(left, right, places, self.backbone.embedding_weight)
        return logits


class SpanBERT(SpanMasked[SpanBERTSettings, SpanBERTLearner]):
    """Predict the tokens of masked spans of words, and again from the two tokens next to each span.

    Spans at an end of a row, or of a document within it, have no second prediction.
    """

    terms = ("mlm", "sbo")

    def collate(self, rows: Rows, keys: Keys) -> Batch:
        original, masked = self.masked(rows, keys)
        batch = self.batch(original, masked, keys)
        bounded = boundary_targets(masked, self.settings.boundary_targets)
        arrays = {"left": bounded.left, "right": bounded.right, "spans": bounded.spans, "places": bounded.places}
        arrays["boundary_labels"] = masked.labels.take(bounded.predicted)
        return replace(
            batch,
            targets={**batch.targets, **{name: torch.from_numpy(array) for name, array in arrays.items()}},
            normalisers={**batch.normalisers, "sbo": float(len(bounded.predicted))},
        )

    def build(self, make: MakeBackbone) -> SpanBERTLearner:
        model = self.model
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
        return SpanBERTLearner(backbone, self.head(backbone), boundary_head)

    def loss(self, learner: SpanBERTLearner, batch: Batch, carry: Carry) -> tuple[dict[str, Term], Carry]:
        targets = batch.targets
        parts = [targets["positions"], targets["left"], targets["right"]]
        hidden = learner.backbone.encode_at(batch.inputs, torch.cat(parts))
        # [predicted, width], twice [bounded spans, width]
        inner, left, right = torch.split(hidden, [len(part) for part in parts])
        left, right = (state.index_select(0, targets["spans"]) for state in (left, right))  # [targets, width] each
        guesses = learner.boundary_scores(left, right, targets["places"])  # [targets, vocabulary]
        labels = targets["boundary_labels"]
        boundary = Term(
            total=cross_entropy_sum(guesses, labels),
            normaliser=batch.normalisers["sbo"],
            weight=self.settings.boundary_weight,
            counts={} if learner.training else {"accuracy": (guesses.argmax(-1) == labels).sum()},
        )
        return {"mlm": self.mlm_term(learner, batch, learner.scores(inner)), "sbo": boundary}, carry

    def inspect(self, batch: Batch) -> Inspection:
        inspection, targets = super().inspect(batch), batch.targets
        rows = [
            Shown({**row.lines, "boundaries": line}) for row, line in zip(inspection.rows, _boundary_lines(batch), strict=True)
        ]
        note = (
            "boundaries: the tokens between two boundaries (?) are predicted a second time, from the hidden states of the two "
            "and the place between them. Spans at an end of a row have none."
        )
        rates = {
            "spans with boundaries": (len(targets["left"]), len(targets["span_tokens"])),
            "predicted from boundaries": (len(targets["boundary_labels"]), len(targets["labels"])),
        }
        return replace(inspection, rows=rows, rates={**inspection.rates, **rates}, notes=(*inspection.notes, note))


def _boundary_lines(batch: Batch) -> list[list[tuple[int, str]]]:
    """Return for each row its boundaries, and the tokens that are predicted from them; the rest is blank."""
    ids = batch.inputs.ids
    left, right = batch.targets["left"], batch.targets["right"]
    marks = np.full(ids.numel(), "blank", "<U8")
    marks[(left[batch.targets["spans"]] + 1 + batch.targets["places"]).numpy()] = "asked"
    marks[torch.cat([left, right]).numpy()] = "boundary"
    real = torch.ones_like(ids, dtype=torch.bool) if batch.layout.tokens is None else batch.layout.tokens
    rows = zip(ids, marks.reshape(ids.shape), real, strict=True)
    return [list(zip(row[kept].tolist(), own[kept.numpy()].tolist(), strict=True)) for row, own, kept in rows]
