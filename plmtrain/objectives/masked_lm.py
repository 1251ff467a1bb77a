"""Masked language modelling: predict a share of a row's tokens, most of which are hidden.

Devlin et al. 2019, section 3.1 (Task 1) and appendix A.1; with noise that is new in every epoch, Liu et al. 2019, section 4.1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from plmtrain.batch import Batch, Layout, Term
from plmtrain.corruption.masked_rows import Masker
from plmtrain.data.framing import framed
from plmtrain.filling import filled, filled_masks, hide_a_word, mask_questions, read_filled
from plmtrain.masked_inspection import masked_inspection
from plmtrain.nn.heads import MaskedLMHead, TiedHead, vocabulary_head
from plmtrain.nn.loss import cross_entropy_sum
from plmtrain.program import Answer, Carry, Demonstration, Inspection, MakeBackbone, Program
from plmtrain.settings.models.encoder import EncoderSettings
from plmtrain.settings.objectives.masked_lm import MaskedLMSettings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from plmtrain.backbones import Backbone
    from plmtrain.data.rows import Rows
    from plmtrain.keyed_random import Keys
    from plmtrain.settings.models.base import ModelSettings
    from plmtrain.text.tokenizer import Tokenizer
    from plmtrain.text.vocabulary import Vocabulary


class MaskedLMLearner(nn.Module):
    """An encoder and the head that scores the vocabulary at the predicted positions.

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


class MaskedLM(Program[MaskedLMSettings]):
    """Predict the tokens that were chosen, from the row that the rest of them stand in.

    Special tokens are never chosen: neither those that frame a row, nor document ends, nor unknown tokens. BERT's code spares
    the first two kinds alone, RoBERTa's none; predicting them teaches nothing.
    """

    terms = ("mlm",)

    def __init__(self, settings: MaskedLMSettings, model: ModelSettings, vocabulary: Vocabulary) -> None:
        super().__init__(settings, model, vocabulary)
        self.mask = Masker(settings, vocabulary)

    def row_length(self, sequence_length: int) -> int:
        return sequence_length - 2

    def collate(self, rows: Rows, keys: Keys) -> Batch:
        original = framed(rows, self.vocabulary)
        masked = self.mask(original, keys)
        return Batch(
            inputs={"ids": torch.from_numpy(masked.ids)},
            targets={"positions": torch.from_numpy(masked.positions), "labels": torch.from_numpy(masked.labels)},
            layout=Layout.of(original.real, original.documents),
            samples=torch.from_numpy(keys.samples),
            normalisers={"mlm": float(len(masked.positions))},
        )

    def build(self, make: MakeBackbone) -> MaskedLMLearner:
        backbone = make(self.model)
        return MaskedLMLearner(backbone, vocabulary_head(cast(EncoderSettings, self.model), backbone.vocabulary_size))

    def loss(self, learner: nn.Module, batch: Batch, carry: Carry) -> tuple[dict[str, Term], Carry]:
        learner = cast(MaskedLMLearner, learner)
        hidden = learner.backbone.encode_at(batch.inputs["ids"], batch.layout, batch.targets["positions"])  # [predicted, width]
        logits = learner.scores(hidden)  # [predicted, vocabulary]
        labels = batch.targets["labels"]
        total = cross_entropy_sum(logits, labels)
        counts = {} if learner.training else {"accuracy": (logits.argmax(-1) == labels).sum()}
        return {"mlm": Term(total=total, normaliser=batch.normalisers["mlm"], counts=counts)}, carry

    def backbone_of(self, learner: nn.Module) -> Backbone:
        return cast(MaskedLMLearner, learner).backbone

    @torch.no_grad()
    def predict(self, learner: nn.Module, batch: Batch) -> list[dict[str, Any]]:
        """Fill every mask; the answers are those of ``plmtrain.filling.filled``."""
        learner = cast(MaskedLMLearner, learner)
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
        learner = cast(MaskedLMLearner, learner)
        inputs = batch.inputs
        hidden = learner.backbone.encode(inputs["ids"], batch.layout, inputs.get("segments"), inputs.get("positions"))
        return learner.scores(hidden)

    def inspect(self, batch: Batch) -> Inspection:
        return masked_inspection(batch, self.vocabulary)
