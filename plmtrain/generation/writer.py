"""The interface between generation and a model: scores of the next token of several texts, token by token."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from plmtrain.backbones.encoder_decoder import EncoderDecoder
from plmtrain.batch import Layout


class Writer(Protocol):
    """A model and the text that it has generated so far."""

    @property
    def device(self) -> torch.device:
        """The device of its scores."""
        ...

    def advance(self, tokens: Tensor) -> Tensor:
        """Append a token to each text.  # [texts] -> [texts, vocabulary] scores of the next token"""
        ...

    def select(self, texts: Tensor) -> None:
        """Continue with some of the texts, in that order; one may be taken more than once.  # [texts] indices"""
        ...


class EncoderDecoderWriter:
    """A decoder that generates while it attends to encoded rows.

    Args:
        backbone: in eval mode.
        ids: [rows, length] the encoder's input.
        layout: which of its positions see each other.
        copies: texts generated for each row, in parallel.
        limit: the most tokens to generate, the start token included.
    """

    def __init__(self, backbone: EncoderDecoder, ids: Tensor, layout: Layout, copies: int, limit: int) -> None:
        self._backbone = backbone
        self._memory = backbone.encode(ids, layout).repeat_interleave(copies, dim=0)
        tokens = None if layout.tokens is None else layout.tokens.repeat_interleave(copies, dim=0)
        self._layout = Layout(tokens=tokens)
        self._cache = backbone.new_cache(limit, ids.shape[1])

    @property
    def device(self) -> torch.device:
        """The device of its scores."""
        return self._memory.device

    def advance(self, tokens: Tensor) -> Tensor:
        """Append a token to each text.  # [texts] -> [texts, vocabulary] scores of the next token"""
        hidden = self._backbone.decode(tokens[:, None], self._memory, Layout(causal=True), self._layout, self._cache)
        return functional.linear(hidden[:, -1], self._backbone.embedding_weight)

    def select(self, texts: Tensor) -> None:
        """Continue with some of the texts. All texts of a row attend to the same memory, so only the generated part changes."""
        for block in self._cache:
            block.own.select(texts)
