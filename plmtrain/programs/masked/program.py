"""What all masked language models have in common once they are trained: they fill masks.

Each objective says for itself what it hides and what its loss is; how hidden tokens are scored, and how a user's masks are
filled, is the same for all of them, and stands here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from plmtrain.nn.heads import MaskedLMHead, TiedHead, vocabulary_head
from plmtrain.programs.masked.filling import filled, filled_masks, hide_a_word, mask_questions, read_filled
from plmtrain.programs.masked.inspection import masked_inspection
from plmtrain.programs.program import Answer, Demonstration, Inspection, Program
from plmtrain.settings.models.encoder import EncoderSettings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from plmtrain.backbones import Backbone
    from plmtrain.batch import Batch
    from plmtrain.data.rows.rows import Rows
    from plmtrain.text.tokenizer import Tokenizer

SettingsT = TypeVar("SettingsT")


class MaskedLearner(nn.Module):
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


class MaskedProgram(Program[SettingsT]):
    """Predict tokens of a row, most of which are hidden. Its learner is a ``MaskedLearner``."""

    def token_head(self, backbone: Backbone) -> MaskedLMHead | TiedHead:
        """The language-model head of an encoder, with fresh weights."""
        return vocabulary_head(cast(EncoderSettings, self.model), backbone.vocabulary_size)

    def backbone_of(self, learner: nn.Module) -> Backbone:
        return cast(MaskedLearner, learner).backbone

    def encoded(self, learner: nn.Module, batch: Batch) -> Tensor:
        """The last layer's states at every position.  # [batch, length, width]"""
        inputs = batch.inputs
        return cast(MaskedLearner, learner).backbone.encode(
            inputs["ids"], batch.layout, inputs.get("segments"), inputs.get("positions")
        )

    def fill(self, learner: nn.Module, batch: Batch, hidden: Tensor) -> list[dict[str, Any]]:
        """Fill every mask by the states of its row; the answers are those of ``plmtrain.programs.masked.filling.filled``."""
        masks = (batch.inputs["ids"] == self.vocabulary["mask"]).nonzero()  # [masks, 2]
        logits = cast(MaskedLearner, learner).scores(hidden[masks[:, 0], masks[:, 1]])  # [masks, vocabulary]
        return filled(masks, logits, batch.samples, opening=1)

    @torch.no_grad()
    def predict(self, learner: nn.Module, batch: Batch) -> list[dict[str, Any]]:
        """Fill every mask; the answers are those of ``plmtrain.programs.masked.filling.filled``."""
        return self.fill(learner, batch, self.encoded(learner, batch))

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
        return cast(MaskedLearner, learner).scores(self.encoded(learner, batch))

    def inspect(self, batch: Batch) -> Inspection:
        return masked_inspection(batch, self.vocabulary)

    def unseen_counts(self, batch: Batch, logits: Tensor) -> dict[str, Tensor]:
        """Right guesses, and the loss where the token was not to be seen, with how often that was."""
        labels = batch.targets["labels"]
        unseen = batch.inputs["ids"].flatten().index_select(0, batch.targets["positions"]) == self.vocabulary["mask"]
        lost = functional.cross_entropy(logits.float(), labels, reduction="none")
        return {
            "accuracy": (logits.argmax(-1) == labels).sum(),
            "unseen": torch.stack([lost.masked_fill(~unseen, 0.0).sum(), unseen.sum()]),
        }
