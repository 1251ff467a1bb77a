"""The decoder of GPT-1, GPT-2 and GPT-3 (Radford et al. 2018, section 4.1; 2019, section 2.3; Brown et al. 2020, section 2.1).

Token and learned position embeddings are added and dropped without a norm. GPT-1's blocks are post-LN; GPT-2's are pre-LN, with
a norm after the last one. In GPT-3 every second block sees a window of the last positions only. The output layer is the token
table.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from plmtrain.backbones import Backbone
from plmtrain.batch import Inputs
from plmtrain.nn.attention import Visibility, ready, visibility
from plmtrain.nn.blocks import Block, PostNormBlock, PreNormBlock
from plmtrain.nn.cache import Cache
from plmtrain.nn.dropout import dropout
from plmtrain.nn.initialisation import initialise
from plmtrain.settings.models.decoder import DecoderSettings


class Decoder(Backbone):
    """A causal Transformer.

    Args:
        settings: the shape of the model.
        vocabulary_size: the number of rows of the token embedding.
    """

    settings: DecoderSettings
    writes = True

    def __init__(self, settings: DecoderSettings, vocabulary_size: int) -> None:
        super().__init__(settings, vocabulary_size)
        self.width = self.embedding_width = settings.width
        self.token = nn.Embedding(vocabulary_size, settings.width)
        self.position = nn.Embedding(settings.positions, settings.width)
        block: type[Block] = PreNormBlock if settings.norm == "pre" else PostNormBlock
        self.layers = nn.ModuleList(
            block(
                settings.width,
                settings.heads,
                settings.feed_forward,
                settings.activation,
                settings.norm_eps,
                settings.dropout,
                settings.attention_dropout,
            )
            for _ in range(settings.layers)
        )
        self.norm = nn.LayerNorm(settings.width, eps=settings.norm_eps) if settings.norm == "pre" else None
        initialise(self, settings.initial_std, settings.initial_truncated)
        if settings.scaled_residuals:
            self._scale_residuals()

    @torch.no_grad()
    def _scale_residuals(self) -> None:
        for layer in self.layers:
            assert isinstance(layer, Block)
            for last in (layer.attention.output, layer.feed_forward_out):
                last.weight.mul_((2 * len(self.layers)) ** -0.5)

    @property
    def embedding_weight(self) -> Tensor:
        return self.token.weight

    def encode_layers(self, inputs: Inputs) -> list[Tensor]:
        states = [self._embedded(inputs, past=0)]
        seen = self._visibilities(inputs, states[0])
        for layer, block in enumerate(self.layers):
            states.append(block(states[-1], seen[layer % 2]))
        return [*states[:-1], self._normed(states[-1])]

    def extend(self, inputs: Inputs, cache: list[Cache]) -> Tensor:
        """Return the last hidden states of further positions.

        Args:
            inputs: the positions after those in the cache: any number if it is empty, else one. ``layout.tokens`` is of all
                positions, those in the cache included.
            cache: from ``new_cache``; these positions are added to it.

        Returns:
            [batch, new positions, width].
        """
        past, length = cache[0].length, inputs.ids.shape[1]
        hidden = self._embedded(inputs, past)
        if past:
            assert length == 1, "several positions at once only begin a text"
            seen = self._last_visibilities(inputs, hidden)
        else:
            seen = self._visibilities(inputs, hidden)
        for layer, (block, kept) in enumerate(zip(self.layers, cache, strict=True)):
            hidden = block(hidden, seen[layer % 2], kept)
        return self._normed(hidden)

    def new_cache(self, length: int) -> list[Cache]:
        """Make an empty cache for ``extend``.

        Args:
            length: the largest number of positions.
        """
        return [Cache(length, self.settings.window if layer % 2 else None) for layer in range(len(self.layers))]

    def _embedded(self, inputs: Inputs, past: int) -> Tensor:
        """Return the input of the first block.  # [batch, length, width]"""
        if inputs.positions is None:
            placed = self.position.weight[past : past + inputs.ids.shape[1]]  # [length, width]
        else:
            placed = self.position(inputs.positions)  # [batch, length, width]
        embedded = self.token(inputs.ids) + placed
        if inputs.segments is not None:
            # transformers' classes look up segments in the token table; no objective or task of plmtrain has any for a decoder.
            embedded = embedded + self.token(inputs.segments)
        return dropout(embedded, self.settings.dropout, self.training)

    def _visibilities(self, inputs: Inputs, hidden: Tensor) -> tuple[Visibility, Visibility]:
        """Return what positions see in even blocks, and in odd ones."""
        layout = replace(inputs.layout, causal=True)
        dense = visibility(layout, hidden)
        window = self.settings.window
        return dense, dense if window is None else visibility(replace(layout, window=window), hidden)

    def _last_visibilities(self, inputs: Inputs, hidden: Tensor) -> tuple[Visibility, Visibility]:
        """Return the same for the last position alone, which sees all positions before it, or those of the window."""
        tokens, window = inputs.layout.tokens, self.settings.window
        if tokens is None:
            return Visibility(), Visibility()
        dense = ready(tokens[:, None], hidden)
        return dense, dense if window is None else ready(tokens[:, None, -window:], hidden)

    def _normed(self, hidden: Tensor) -> Tensor:
        return hidden if self.norm is None else self.norm(hidden)

    def embedding_parameters(self) -> list[nn.Parameter]:
        return [*self.token.parameters(), *self.position.parameters()]

    def blocks(self) -> list[nn.Module]:
        return list(self.layers)


backbone = Decoder
