"""T5's backbone (Raffel et al. 2020, section 2.1): an encoder and a decoder, pre-LN with RMSNorm, without biases.

Positions are relative only: each stack has one table of numbers, by distance and head, which all its layers add to the scores of
their self-attention. Scores are not divided by the root of the head's size; the initial weights of queries are smaller instead.
The encoder and the decoder share one token embedding. It is also the output layer, whose input is then scaled; in version 1.1
the output layer has weights of its own.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from plmtrain.backbones import EncoderDecoderBackbone
from plmtrain.batch import Inputs
from plmtrain.nn.attention import CrossAttention, SelfAttention, Visibility, biased, cross_visibility, visibility
from plmtrain.nn.blocks import BlockCache
from plmtrain.nn.cache import Cache
from plmtrain.nn.dropout import dropout
from plmtrain.nn.relative_bias import RelativeBias
from plmtrain.nn.unbiased_blocks import UnbiasedBlock, UnbiasedDecoderBlock, UnbiasedShape
from plmtrain.settings.models.relative_encoder_decoder import RelativeEncoderDecoderSettings


class RelativeEncoderDecoder(EncoderDecoderBackbone):
    """A pre-LN encoder and decoder with relative positions.

    Args:
        settings: the shape of the model.
        vocabulary_size: the number of rows of the token embedding.
    """

    settings: RelativeEncoderDecoderSettings

    def __init__(self, settings: RelativeEncoderDecoderSettings, vocabulary_size: int) -> None:
        super().__init__(settings, vocabulary_size)
        self.width = self.embedding_width = settings.width
        self.token = nn.Embedding(vocabulary_size, settings.width)
        self.encoder = _Stack(settings, UnbiasedBlock, settings.layers, bidirectional=True)
        self.decoder = _Stack(settings, UnbiasedDecoderBlock, settings.decoder_blocks, bidirectional=False)
        self.output = None if settings.tied_output else nn.Linear(settings.width, vocabulary_size, bias=False)
        self._initialise()

    def _initialise(self) -> None:
        """Draw all weights as the authors' code does, each with a standard deviation that follows from its layer's sizes."""
        factor, width = self.settings.initial_factor, self.width
        nn.init.normal_(self.token.weight, std=factor)
        if self.output is not None:
            nn.init.normal_(self.output.weight, std=factor * width**-0.5)
        for part in self.modules():
            if isinstance(part, RelativeBias):
                nn.init.normal_(part.weight, std=factor * width**-0.5)
            elif isinstance(part, SelfAttention | CrossAttention):
                self._initialise_attention(part)
            elif isinstance(part, UnbiasedBlock):
                nn.init.normal_(part.feed_forward_in.weight, std=factor * width**-0.5)
                nn.init.normal_(part.feed_forward_out.weight, std=factor * self.settings.feed_forward**-0.5)

    def _initialise_attention(self, attention: SelfAttention | CrossAttention) -> None:
        factor, width, head_width = self.settings.initial_factor, self.width, self.settings.head_width
        inner = self.settings.heads * head_width
        if isinstance(attention, SelfAttention):
            query, key_value = torch.split(attention.query_key_value.weight.detach(), [inner, 2 * inner])
        else:
            query, key_value = attention.query.weight, attention.key_value.weight
        # Smaller by the root of the head's size, since scores are not scaled.
        nn.init.normal_(query, std=factor * (width * head_width) ** -0.5)
        nn.init.normal_(key_value, std=factor * width**-0.5)
        nn.init.normal_(attention.output.weight, std=factor * inner**-0.5)

    @property
    def embedding_weight(self) -> Tensor:
        return self.token.weight

    @property
    def output_weight(self) -> Tensor:
        return self.token.weight if self.output is None else self.output.weight

    def encode_layers(self, inputs: Inputs) -> list[Tensor]:
        assert inputs.segments is None, "there are no segments"
        assert inputs.positions is None, "positions are relative"
        states: list[Tensor] = [self.encoder.embedded(self.token(inputs.ids))]
        seen = self.encoder.biased(visibility(inputs.layout, states[0]), states[0], past=0)
        for block in self.encoder.layers:
            states.append(block(states[-1], seen))
        return [*states[:-1], self.encoder.normed(states[-1])]

    def decode(self, inputs: Inputs, memory: Tensor, cache: list[BlockCache] | None = None) -> Tensor:
        own = inputs.decoder
        assert own is not None, "the decoder has no inputs"
        past = cache[0].own.length if cache is not None else 0
        hidden = self.decoder.embedded(self.token(own.ids))
        assert not past or own.ids.shape[1] == 1
        seen = Visibility() if past else visibility(own.layout, hidden)  # a single new token sees all preceding ones
        seen = self.decoder.biased(seen, hidden, past)
        memory_seen = cross_visibility(own.layout, inputs.layout, hidden)
        for index, block in enumerate(self.decoder.layers):
            hidden = block(hidden, seen, memory, memory_seen, None if cache is None else cache[index])
        hidden = self.decoder.normed(hidden)
        return hidden * self.width**-0.5 if self.output is None else hidden

    def new_cache(self, length: int, memory_length: int) -> list[BlockCache]:
        return [BlockCache(Cache(length), Cache(memory_length)) for _ in self.decoder.layers]

    def embedding_parameters(self) -> list[nn.Parameter]:
        return [*self.token.parameters(), *self.encoder.bias.parameters(), *self.decoder.bias.parameters()]

    def blocks(self) -> list[nn.Module]:
        return [*self.encoder.layers, *self.decoder.layers]

    def stacks(self) -> list[list[nn.Module]]:
        return [list(self.encoder.layers), list(self.decoder.layers)]


class _Stack(nn.Module):
    """The blocks of the encoder or the decoder, with their table of relative positions and their last norm."""

    def __init__(
        self, settings: RelativeEncoderDecoderSettings, block: type[UnbiasedBlock], layers: int, *, bidirectional: bool
    ) -> None:
        super().__init__()
        self.dropout = settings.dropout
        self.bias = RelativeBias(
            settings.heads, settings.relative_buckets, settings.relative_max_distance, bidirectional=bidirectional
        )
        shape = UnbiasedShape(
            width=settings.width,
            heads=settings.heads,
            head_width=settings.head_width,
            feed_forward=settings.feed_forward,
            activation=settings.activation,
            gated=settings.gated,
            norm_eps=settings.norm_eps,
            dropout=settings.dropout,
            attention_dropout=settings.attention_dropout,
        )
        self.layers = nn.ModuleList(block(shape) for _ in range(layers))
        self.norm = nn.RMSNorm(settings.width, eps=settings.norm_eps)

    def embedded(self, tokens: Tensor) -> Tensor:
        """Return the input of the first block.  # [batch, length, width] -> the same"""
        return dropout(tokens, self.dropout, self.training)

    def biased(self, seen: Visibility, hidden: Tensor, past: int) -> Visibility:
        """Add the relative positions of a row, or of its last position after ``past`` others, to what positions see."""
        return biased(seen, self.bias(hidden.shape[1], past + hidden.shape[1]), hidden)

    def normed(self, hidden: Tensor) -> Tensor:
        """Return the stack's output.  # [batch, length, width] -> the same"""
        return dropout(self.norm(hidden), self.dropout, self.training)


backbone = RelativeEncoderDecoder
