"""Masked language modelling on spans: what span masking alone and span masking with boundaries have in common.

Joshi et al. 2020, section 3.1. Rows are single stretches of text, as in section 3.3; there is no second segment.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from plmtrain.batch import Batch, Layout
from plmtrain.corruption.span_rows import SpanMaskedRows, SpanMasker
from plmtrain.data.framing import framed
from plmtrain.filling import filled, filled_masks, hide_a_word, mask_questions, read_filled
from plmtrain.masked_inspection import masked_inspection
from plmtrain.nn.heads import MaskedLMHead, TiedHead, vocabulary_head
from plmtrain.program import Answer, Demonstration, Inspection, Program
from plmtrain.settings.models.encoder import EncoderSettings
from plmtrain.settings.spans import SpanSettings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from plmtrain.backbones import Backbone
    from plmtrain.corruption.masked_rows import FramedRows
    from plmtrain.data.rows import Rows
    from plmtrain.keyed_random import Keys
    from plmtrain.settings.models.base import ModelSettings
    from plmtrain.text.tokenizer import Tokenizer
    from plmtrain.text.vocabulary import Vocabulary

SettingsT = TypeVar("SettingsT", bound=SpanSettings)


class SpanLearner(nn.Module):
    """An encoder and the head that scores the vocabulary.

    Args:
        backbone: the encoder.
        head: scores hidden states against its token embeddings.
    """

    def __init__(self, backbone: Backbone, head: MaskedLMHead | TiedHead) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head

    def scores(self, hidden: Tensor) -> Tensor:
        """Logits over the vocabulary.  # [n, width] -> [n, vocabulary]"""
        logits: Tensor = self.head(hidden, self.backbone.embedding_weight)
        return logits


class SpanMasked(Program[SettingsT]):
    """Predict the tokens of hidden spans of words."""

    def __init__(self, settings: SettingsT, model: ModelSettings, vocabulary: Vocabulary) -> None:
        super().__init__(settings, model, vocabulary)
        self.mask = SpanMasker(settings, vocabulary)

    def row_length(self, sequence_length: int) -> int:
        return sequence_length - 2

    def masked(self, rows: Rows, keys: Keys) -> tuple[FramedRows, SpanMaskedRows]:
        """The rows as they are, and with spans hidden."""
        original = framed(rows, self.vocabulary)
        return original, self.mask(original, rows.text, keys)

    def batch(self, original: FramedRows, masked: SpanMaskedRows, keys: Keys) -> Batch:
        """What the first term of the loss needs."""
        return Batch(
            inputs={"ids": torch.from_numpy(masked.ids)},
            targets={
                "positions": torch.from_numpy(masked.positions),
                "labels": torch.from_numpy(masked.labels),
                "span_tokens": torch.from_numpy(masked.lengths),
                "span_words": torch.from_numpy(masked.words),
            },
            layout=Layout.of(original.real, original.documents),
            samples=torch.from_numpy(keys.samples),
            normalisers={"mlm": float(len(masked.positions))},
        )

    def right(self, batch: Batch, logits: Tensor) -> dict[str, Tensor]:
        """Of the first term: right guesses, and the loss where the token was not to be seen, with how often that was."""
        labels = batch.targets["labels"]
        unseen = batch.inputs["ids"].flatten().index_select(0, batch.targets["positions"]) == self.vocabulary["mask"]
        lost = functional.cross_entropy(logits.float(), labels, reduction="none")
        return {
            "accuracy": (logits.argmax(-1) == labels).sum(),
            "unseen": torch.stack([lost.masked_fill(~unseen, 0.0).sum(), unseen.sum()]),
        }

    def measures(self, counts: Mapping[str, NDArray[np.float64]]) -> dict[str, float]:
        """``mlm/unseen_loss``: nats a token that a mask stood for, since those left in place can be copied."""
        lost, unseen = counts["mlm/unseen"].tolist()
        return {"mlm/unseen_loss": lost / unseen} if unseen else {}

    def token_head(self, backbone: Backbone) -> MaskedLMHead | TiedHead:
        """The language-model head of an encoder, with fresh weights."""
        return vocabulary_head(cast(EncoderSettings, self.model), backbone.vocabulary_size)

    def backbone_of(self, learner: nn.Module) -> Backbone:
        return cast(SpanLearner, learner).backbone

    @torch.no_grad()
    def predict(self, learner: nn.Module, batch: Batch) -> list[dict[str, Any]]:
        """Fill every mask; the answers are those of ``plmtrain.filling.filled``."""
        learner = cast(SpanLearner, learner)
        ids = batch.inputs["ids"]
        masks = (ids == self.vocabulary["mask"]).nonzero()  # [masks, 2]
        hidden = learner.backbone.encode(ids, batch.layout)
        return filled(masks, learner.scores(hidden[masks[:, 0], masks[:, 1]]), batch.samples, opening=1)

    def questions(self, texts: Sequence[str], tokenizer: Tokenizer) -> Rows:
        """Texts with masks to fill, written by the mask's name."""
        return mask_questions(texts, tokenizer)

    def read_out(self, text: str, ids: NDArray[np.int64], answer: Mapping[str, Any], tokenizer: Tokenizer) -> Answer:
        return read_filled(text, ids, answer, tokenizer)

    def demonstrate(self, learner: nn.Module, rows: Rows, tokenizer: Tokenizer) -> Demonstration:
        """Hide one word in each sentence, and show what the model puts there."""
        asked, places = hide_a_word(rows, self.vocabulary["mask"])
        return filled_masks(rows, places, self.predict(learner, self.collate_for_prediction(asked)), tokenizer)

    def token_scores(self, learner: nn.Module, batch: Batch) -> Tensor:
        learner = cast(SpanLearner, learner)
        inputs = batch.inputs
        hidden = learner.backbone.encode(inputs["ids"], batch.layout, inputs.get("segments"), inputs.get("positions"))
        return learner.scores(hidden)

    def inspect(self, batch: Batch) -> Inspection:
        found = masked_inspection(batch, self.vocabulary)
        lengths = {
            f"span length in {unit}": dict(
                zip(
                    *(part.tolist() for part in np.unique(batch.targets[f"span_{unit}"].numpy(), return_counts=True)), strict=True
                )
            )
            for unit in ("words", "tokens")
        }
        return replace(found, histograms={**found.histograms, **lengths})
