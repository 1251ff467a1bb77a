"""Rules for the next token: forced first and last tokens, a minimum length, and no repeated n-gram."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from plmtrain.settings.generation import GenerationSettings

if TYPE_CHECKING:
    from plmtrain.text.vocabulary import Vocabulary

NOTHING = -1
"""The place of no token: before the beginning of a shorter text, and after the end of one."""


@dataclass(frozen=True, kw_only=True)
class Specials:
    """The tokens that begin and end texts.

    Args:
        end: ends a text; ``NOTHING`` if no token does, as in GPT-1's published vocabulary.
        first: the first token of every text; None if the model chooses it.
        last: the last token of a text that has reached the greatest length; None if the model chooses it.
        absent: [any number] rows of the vocabulary without a token, which are never written; None if there are none.
    """

    end: int
    first: int | None = None
    last: int | None = None
    absent: NDArray[np.int64] | None = None

    @classmethod
    def of_documents(cls, vocabulary: Vocabulary, rows: int) -> Specials:
        """Return those of a model that continues documents, and whose table has this many rows."""
        end = vocabulary.document_end if vocabulary.ends_documents else NOTHING
        return cls(end=end, absent=vocabulary.absent(rows))


def allowed(scores: Tensor, texts: Tensor, written: int, specials: Specials, settings: GenerationSettings, limit: int) -> Tensor:
    """Return the scores with minus infinity at tokens that may not come next, and zero at a forced one.

    Args:
        scores: [texts, vocabulary] of the next token.
        texts: [texts, length] the tokens so far, those that texts begin with included.
        written: the number of generated ones among them.
        specials: the tokens that begin and end texts.
        settings: how to generate.
        limit: the most tokens to generate.
    """
    if specials.absent is not None and len(specials.absent):
        scores = scores.index_fill(-1, torch.from_numpy(specials.absent).to(scores.device), -math.inf)
    if settings.no_repeat_ngram:
        scores = scores.masked_fill(_completes(texts, settings.no_repeat_ngram, scores.shape[1]), -math.inf)
    if written < settings.min_new_tokens and specials.end != NOTHING:
        scores = scores.clone()
        scores[:, specials.end] = -math.inf
    if specials.first is not None and written == 0:
        scores = _only(scores, specials.first)
    if specials.last is not None and written == limit - 1:
        scores = _only(scores, specials.last)
    return scores


def _only(scores: Tensor, token: int) -> Tensor:
    only = torch.full_like(scores, -math.inf)
    only[:, token] = 0
    return only


def _completes(texts: Tensor, size: int, vocabulary: int) -> Tensor:
    """Return the tokens that would complete an n-gram that a text already contains.  # [texts, vocabulary]"""
    banned = torch.zeros(len(texts), vocabulary + 1, dtype=torch.bool, device=texts.device)
    if texts.shape[1] >= size:
        begun = texts[:, texts.shape[1] + 1 - size :]
        windows = texts.unfold(1, size, 1)  # [texts, windows, size]
        same = (windows[..., :-1] == begun[:, None]).all(-1) & (windows[..., -1] != NOTHING)
        banned.scatter_(1, torch.where(same, windows[..., -1], vocabulary), True)
    return banned[:, :vocabulary]
