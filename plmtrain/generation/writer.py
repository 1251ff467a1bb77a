"""What generation asks of a model: scores of the next token of several texts, one token after the other."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from plmtrain.backbones.encoder_decoder import EncoderDecoder
from plmtrain.batch import Layout


class Writer(Protocol):
    """A model with what it has written so far."""

    @property
    def device(self) -> torch.device:
        """Where its scores are."""
        ...

    def advance(self, tokens: Tensor) -> Tensor:
        """Add a token to each text.  # [texts] -> [texts, vocabulary] scores of the token behind it"""
        ...

    def select(self, texts: Tensor) -> None:
        """Go on with some of the texts, in that order; one may be taken more than once.  # [texts] indices"""
        ...


class EncoderDecoderWriter:
    """A decoder that writes while it looks at encoded rows.

    Args:
        backbone: in eval mode.
        ids: [rows, length] what is encoded.
        layout: who may see whom there.
        copies: texts written for each row, side by side.
        limit: tokens that are written at most, the start token included.
    """

    def __init__(self, backbone: EncoderDecoder, ids: Tensor, layout: Layout, copies: int, limit: int) -> None:
        self._backbone = backbone
        self._memory = backbone.encode(ids, layout).repeat_interleave(copies, dim=0)
        tokens = None if layout.tokens is None else layout.tokens.repeat_interleave(copies, dim=0)
        self._layout = Layout(tokens=tokens)
        self._cache = backbone.new_cache(limit, ids.shape[1])

    @property
    def device(self) -> torch.device:
        """Where its scores are."""
        return self._memory.device

    def advance(self, tokens: Tensor) -> Tensor:
        """Add a token to each text.  # [texts] -> [texts, vocabulary] scores of the token behind it"""
        hidden = self._backbone.decode(tokens[:, None], self._memory, Layout(causal=True), self._layout, self._cache)
        return functional.linear(hidden[:, -1], self._backbone.embedding_weight)

    def select(self, texts: Tensor) -> None:
        """Go on with some of the texts. All texts of a row see the same memory, so only what was written changes."""
        for block in self._cache:
            block.own.select(texts)
