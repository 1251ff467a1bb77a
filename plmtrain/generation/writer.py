"""The interface between generation and a model: scores of the next token of several texts, token by token."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from plmtrain.backbones.encoder_decoder import EncoderDecoder
from plmtrain.batch import Inputs, Layout


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
        inputs: the encoder's input; its decoder side is not read.
        copies: texts generated for each row, in parallel.
        limit: the most tokens to generate, the start token included.
        absent: rows of the vocabulary without a token, which are never written.
    """

    def __init__(
        self, backbone: EncoderDecoder, inputs: Inputs, copies: int, limit: int, absent: NDArray[np.int64] | None = None
    ) -> None:
        self._backbone = backbone
        self._absent = None if absent is None or not len(absent) else torch.from_numpy(absent).to(inputs.ids.device)
        self._memory = backbone.encode(inputs).repeat_interleave(copies, dim=0)
        tokens = inputs.layout.tokens
        # Documents are not distinguished during generation: a text may continue after the place where one ended.
        self._read = Inputs(
            ids=inputs.ids, layout=Layout(tokens=None if tokens is None else tokens.repeat_interleave(copies, dim=0))
        )
        self._cache = backbone.new_cache(limit, inputs.ids.shape[1])

    @property
    def device(self) -> torch.device:
        """The device of the scores."""
        return self._memory.device

    def advance(self, tokens: Tensor) -> Tensor:
        """Append a token to each text.  # [texts] -> [texts, vocabulary] scores of the next token"""
        written = Inputs(ids=tokens[:, None], layout=Layout(causal=True))
        hidden = self._backbone.decode(replace(self._read, decoder=written), self._memory, self._cache)
        scores = functional.linear(hidden[:, -1], self._backbone.embedding_weight)
        return scores if self._absent is None else scores.index_fill(-1, self._absent, -torch.inf)

    def select(self, texts: Tensor) -> None:
        """Keep some of the texts. All texts of a row see the same memory, so only the decoder's own cache changes."""
        for block in self._cache:
            block.own.select(texts)
