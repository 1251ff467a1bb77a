"""The interface between generation and a model: scores of the next token of several texts, token by token."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from plmtrain.backbones import EncoderDecoderBackbone
from plmtrain.backbones.decoder import Decoder
from plmtrain.batch import Inputs, Layout


class Writer(Protocol):
    """A model and the text that it has generated so far."""

    @property
    def device(self) -> torch.device:
        """The device of its scores."""
        ...

    def advance(self, tokens: Tensor) -> Tensor:
        """Append tokens to each text: at first those that it begins with, then one at a time.

        Args:
            tokens: [texts, new]; in the first call ``NOTHING`` may stand before the tokens of shorter texts.

        Returns:
            [texts, vocabulary] the scores of the next token.
        """
        ...

    def select(self, texts: Tensor) -> None:
        """Continue with some of the texts, in that order; one may be taken more than once.  # [texts] indices"""
        ...


class EncoderDecoderWriter:
    """A decoder that generates while it attends to encoded rows.

    Args:
        backbone: in eval mode.
        inputs: the encoder's input; of its decoder side only the positions and the languages of the first tokens are read, if
            there are any.
        copies: texts generated for each row, in parallel.
        limit: the most tokens to generate.
        attended: [rows, length] bool, the places of the rows to which the decoder may attend; all but padding if None.
        memory: [rows, length, width] the encoded rows, if another encoder made them.
    """

    def __init__(
        self,
        backbone: EncoderDecoderBackbone,
        inputs: Inputs,
        copies: int,
        limit: int,
        *,
        attended: Tensor | None = None,
        memory: Tensor | None = None,
    ) -> None:
        self._backbone = backbone
        self._memory = (backbone.encode(inputs) if memory is None else memory).repeat_interleave(copies, dim=0)
        tokens = inputs.layout.tokens if attended is None else attended
        begun = inputs.decoder
        self._first = (
            None if begun is None or begun.positions is None else begun.positions[:, :1].repeat_interleave(copies, dim=0)
        )
        self._languages = (
            None if begun is None or begun.segments is None else begun.segments[:, :1].repeat_interleave(copies, dim=0)
        )
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
        """Append a token to each text.  # [texts, 1] -> [texts, vocabulary] scores of the next token"""
        # All texts of a row have the same position and language: they stay as they are when some of the texts are selected.
        positions = None if self._first is None else self._first + self._cache[0].own.length
        written = Inputs(ids=tokens, layout=Layout(causal=True), segments=self._languages, positions=positions)
        hidden = self._backbone.decode(replace(self._read, decoder=written), self._memory, self._cache)
        return functional.linear(hidden[:, -1], self._backbone.output_weight)

    def select(self, texts: Tensor) -> None:
        """Keep some of the texts. All texts of a row see the same memory, so only the decoder's own cache changes."""
        for block in self._cache:
            block.own.select(texts)


class DecoderWriter:
    """A decoder that continues prompts.

    Shorter prompts are padded on the left, and their positions are counted from their own start, so that each is continued as if
    it were alone.

    Args:
        backbone: in eval mode.
        copies: continuations of each prompt, in parallel.
        limit: the most tokens of a text, prompt included.
        sees_prompt: whether the tokens of a prompt see each other, as in a prefix language model.
    """

    def __init__(self, backbone: Decoder, copies: int, limit: int, *, sees_prompt: bool = False) -> None:
        self._backbone, self._copies, self._limit, self._sees_prompt = backbone, copies, limit, sees_prompt
        self._cache = backbone.new_cache(limit)
        self._tokens: Tensor | None = None  # [texts, limit] which places are not padding
        self._padding: Tensor | None = None  # [texts, 1] the number of places with padding

    @property
    def device(self) -> torch.device:
        """The device of the scores."""
        return self._backbone.embedding_weight.device

    def advance(self, tokens: Tensor) -> Tensor:
        """Append the prompts, or a token to each text; arguments and result as in ``Writer``."""
        begins = not self._cache[0].length
        if begins:
            tokens = tokens[:: self._copies]
            self._read_padding(tokens)
        length = self._cache[0].length + tokens.shape[1]
        positions = seen = None
        if self._tokens is not None and self._padding is not None:
            seen = self._tokens[:, :length]
            places = torch.arange(self._cache[0].length, length, device=tokens.device)
            positions = (places - self._padding).clamp(min=0)
        prefixes = torch.full((len(tokens),), length, device=tokens.device) if begins and self._sees_prompt else None
        layout = Layout(tokens=seen, causal=True, prefixes=prefixes)
        inputs = Inputs(ids=tokens.clamp(min=0), layout=layout, positions=positions)
        last = self._backbone.extend(inputs, self._cache)[:, -1]
        scores = functional.linear(last, self._backbone.embedding_weight)
        if begins and self._copies > 1:
            copied = torch.arange(len(tokens), device=tokens.device).repeat_interleave(self._copies)
            scores = scores[copied]
            self.select(copied)
        return scores

    def _read_padding(self, prompts: Tensor) -> None:
        padding = (prompts < 0).sum(dim=1, keepdim=True)
        if padding.any():
            self._padding = padding
            self._tokens = torch.arange(self._limit, device=prompts.device) >= padding

    def select(self, texts: Tensor) -> None:
        """Continue with some of the texts, in that order; one may be taken more than once.  # [texts] indices"""
        for layer in self._cache:
            layer.select(texts)
        if self._tokens is not None and self._padding is not None:
            self._tokens, self._padding = self._tokens[texts], self._padding[texts]
