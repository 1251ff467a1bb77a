"""Causal language modelling with an encoder that sees no position to the right (Lample and Conneau 2019, section 3.2).

The backbone, its head and its rows are those of masked language modelling, so that either continues what the other began. Each
token of a row's text is predicted from those before it; the special tokens around the text are read, and not predicted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch

from plmtrain.batch import Batch, Inputs, Layout, Term
from plmtrain.data.rows.framing import framed
from plmtrain.data.rows.translations import LanguageRows
from plmtrain.nn.heads import vocabulary_head
from plmtrain.nn.loss import tied_cross_entropy
from plmtrain.programs.baseline import Baseline, unigram_loss
from plmtrain.programs.inspection import Inspection, Shown
from plmtrain.programs.masked.program import MaskedLearner
from plmtrain.programs.program import Carry, MakeBackbone, Program
from plmtrain.settings.models.encoder import EncoderSettings
from plmtrain.settings.objectives.encoder_clm import EncoderCLMSettings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from plmtrain.data.rows.rows import Rows
    from plmtrain.keyed_random import Keys
    from plmtrain.programs.learner import Learner


class EncoderCLM(Program[EncoderCLMSettings, EncoderSettings, MaskedLearner]):
    """Predict each token of a text from those before it; arguments as in ``Program``."""

    terms = ("clm",)
    counted = ("tokens",)
    has_perplexity = True
    baseline = Baseline("text_loss", "unigram_loss", "text tokens")

    def collate(self, rows: Rows, keys: Keys) -> Batch:
        original = framed(rows, self.format, self.vocabulary)
        length = original.ids.shape[1]
        place, closing = np.arange(length), self.format.framing - self.format.opening
        following = place[None] + 1  # the position of the token that each predicts
        predicting = (following >= self.format.opening) & (following < original.lengths[:, None] - closing)
        languages = rows.languages if isinstance(rows, LanguageRows) and self.model.languages else None
        ids = torch.from_numpy(original.ids)
        positions = np.flatnonzero(predicting)
        return Batch(
            inputs=Inputs(
                ids=ids,
                layout=Layout.of(original.real, _of_next(original.documents), causal=True),
                segments=None if languages is None else torch.from_numpy(languages)[:, None].expand(ids.shape).contiguous(),
            ),
            targets={"positions": torch.from_numpy(positions), "labels": ids.flatten()[positions + 1]},
            samples=torch.from_numpy(keys.samples),
            normalisers={"clm": float(len(positions)), "tokens": float(original.lengths.sum())},
        )

    def build(self, make: MakeBackbone) -> MaskedLearner:
        backbone = make(self.model)
        return MaskedLearner(backbone, vocabulary_head(self.model, backbone.vocabulary_size))

    @torch.no_grad()
    def initialise(self, learner: Learner) -> None:
        if self.model.initial_by_width:
            learner.backbone.embedding_weight[self.vocabulary["pad"]] = 0.0  # as in the authors' code

    def loss(self, learner: MaskedLearner, batch: Batch, carry: Carry) -> tuple[dict[str, Term], Carry]:
        labels = batch.targets["labels"]
        hidden = learner.backbone.encode_at(batch.inputs, batch.targets["positions"])  # [predicted, width]
        features, table, bias = learner.factors(hidden)
        total, losses = tied_cross_entropy(features, table, labels, bias)
        counts = {}
        if not learner.training:
            text = labels != self.vocabulary["sep"]
            counts["text"] = torch.stack([losses.masked_fill(~text, 0.0).sum(), text.sum()])
            counts["tokens"] = torch.bincount(labels[text], minlength=len(table))
        return {"clm": Term(total=total, normaliser=batch.normalisers["clm"], counts=counts)}, carry

    def measures(self, counts: Mapping[str, NDArray[np.float64]], unigram: NDArray[np.float64] | None) -> dict[str, float]:
        """Compute ``text_loss``, in nats a token without document ends, and ``unigram_loss`` of the same tokens."""
        total, tokens = counts["clm/text"].tolist()
        if not tokens:
            return {}
        return {"text_loss": total / tokens, **unigram_loss("unigram_loss", counts["clm/tokens"], unigram)}

    def inspect(self, batch: Batch) -> Inspection:
        ids, layout = batch.inputs.ids.numpy(), batch.layout
        real = np.ones(ids.shape, np.bool_) if layout.tokens is None else layout.tokens.numpy()
        special = self.vocabulary.is_special[ids]
        predicted = np.isin(np.arange(ids.size) - 1, batch.targets["positions"].numpy()).reshape(ids.shape)
        marks = np.select([special, predicted], ["special", "target"], "plain")
        rows = []
        for number, own in enumerate(real):
            name = "" if batch.inputs.segments is None else f" ({self.model.languages[int(batch.inputs.segments[number, 0])]})"
            line = list(zip(ids[number][own].tolist(), marks[number][own].tolist(), strict=True))
            rows.append(Shown({f"text{name}": line}))
        return Inspection(
            rows=rows,
            rates={"predicted": (int(predicted.sum()), int(real.sum()))},
            notes=["Each target is predicted from the tokens before it in its row."],
        )


def _of_next(documents: NDArray[np.int64] | None) -> NDArray[np.int64] | None:
    """Return for each position the document of the token that it predicts; the last one keeps its own."""
    return None if documents is None else np.concatenate([documents[:, 1:], documents[:, -1:]], axis=1)
