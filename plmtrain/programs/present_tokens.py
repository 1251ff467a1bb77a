"""Scores of the tokens that exist: published models have rows of the vocabulary that no token of their tokenizer has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from plmtrain.text.vocabulary import Vocabulary


def present_only(logits: Tensor, vocabulary: Vocabulary) -> Tensor:
    """Return logits with minus infinity at rows without a token, so that none is proposed, drawn or given a probability.

    The training's own softmax keeps these rows, as in the authors' code: there they only lose probability.

    Args:
        logits: [..., rows].
        vocabulary: the tokens; there may be more rows than tokens.
    """
    absent = vocabulary.absent(logits.shape[-1])
    if not len(absent):
        return logits
    return logits.index_fill(-1, torch.from_numpy(absent).to(logits.device, non_blocking=True), -torch.inf)
