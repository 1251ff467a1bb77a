"""BART's backbone (Lewis et al. 2020, section 2.1): a bidirectional encoder and an autoregressive decoder.

Both are post-LN with learned positions and a layer norm after the embedding sum. Embeddings are not scaled, and there is no
layer norm after the last block. The encoder, the decoder and the output layer share one token embedding. MASS is another setting
of it (Song et al. 2019, section 4.1), in which each stack may have embeddings of languages.
"""

from __future__ import annotations

from torch import Tensor, nn

from plmtrain.backbones import EncoderDecoderBackbone
from plmtrain.batch import Inputs
from plmtrain.nn.attention import Visibility, cross_visibility, visibility
from plmtrain.nn.blocks import BlockCache, PostNormBlock, PostNormDecoderBlock
from plmtrain.nn.cache import Cache
from plmtrain.nn.initialisation import initialise
from plmtrain.nn.positioned import PositionedEmbeddings
from plmtrain.settings.models.encoder_decoder import EncoderDecoderSettings


class EncoderDecoder(EncoderDecoderBackbone):
    """A post-LN encoder and decoder.

    Args:
        settings: the shape of the model.
        vocabulary_size: the number of rows of the token embedding.
    """

    settings: EncoderDecoderSettings

    def __init__(self, settings: EncoderDecoderSettings, vocabulary_size: int) -> None:
        super().__init__(settings, vocabulary_size)
        self.width = self.embedding_width = settings.width
        self.token = nn.Embedding(vocabulary_size, settings.width)
        self.encoder = _Stack(settings, PostNormBlock, settings.layers)
        self.decoder = _Stack(settings, PostNormDecoderBlock, settings.written_layers)
        initialise(self, settings.initial_std, settings.initial_truncated)
        if settings.initial_by_width:
            for part in self.modules():
                if isinstance(part, nn.Embedding):
                    nn.init.normal_(part.weight, std=settings.width**-0.5)

    @property
    def embedding_weight(self) -> Tensor:
        return self.token.weight

    def encode_layers(self, inputs: Inputs) -> list[Tensor]:
        return self.encoder.states(self.token(inputs.ids), inputs)

    def encode_embedded(self, embedded: Tensor, inputs: Inputs) -> Tensor:
        """Return the encoder's last hidden states.

        Args:
            embedded: [batch, length, width] what takes the place of the token embeddings.
            inputs: as in ``encode``; the ids are not read.

        Returns:
            [batch, length, width].
        """
        return self.encoder.states(embedded, inputs)[-1]

    def decode(self, inputs: Inputs, memory: Tensor, cache: list[BlockCache] | None = None) -> Tensor:
        return self._decode_layers(inputs, memory, cache)[-1]

    def _decode_layers(self, inputs: Inputs, memory: Tensor, cache: list[BlockCache] | None = None) -> list[Tensor]:
        """Return the output of the decoder's embeddings and of each of its layers; arguments as in ``decode``."""
        own = inputs.decoder
        assert own is not None, "the decoder has no inputs"
        past = cache[0].own.length if cache is not None else 0
        states: list[Tensor] = [self.decoder.embeddings(self.token(own.ids), past, own.positions, own.segments)]
        assert not past or own.ids.shape[1] == 1
        seen = Visibility() if past else visibility(own.layout, states[0])  # a single new token sees all preceding ones
        memory_seen = cross_visibility(own.layout, inputs.layout, states[0])
        for index, block in enumerate(self.decoder.layers):
            states.append(block(states[-1], seen, memory, memory_seen, None if cache is None else cache[index]))
        return states

    def all_layers(self, inputs: Inputs) -> list[Tensor]:
        encoded = self.encode_layers(inputs)
        return [*encoded, *self._decode_layers(inputs, encoded[-1])]

    def new_cache(self, length: int, memory_length: int) -> list[BlockCache]:
        return [BlockCache(Cache(length), Cache(memory_length)) for _ in self.decoder.layers]

    def blocks(self) -> list[nn.Module]:
        return [*self.encoder.layers, *self.decoder.layers]

    def stacks(self) -> list[list[nn.Module]]:
        return [list(self.encoder.layers), list(self.decoder.layers)]


class _Stack(nn.Module):
    """The embeddings and blocks of the encoder or the decoder."""

    def __init__(self, settings: EncoderDecoderSettings, block: type[PostNormBlock], layers: int) -> None:
        super().__init__()
        self.embeddings = PositionedEmbeddings(
            settings.width,
            settings.positions,
            settings.position_offset,
            settings.norm_eps,
            settings.dropout,
            settings.language_rows,
        )
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
            for _ in range(layers)
        )

    def states(self, tokens: Tensor, inputs: Inputs) -> list[Tensor]:
        """Return the output of the embeddings and of every block of the encoder, given the embeddings of tokens."""
        states: list[Tensor] = [self.embeddings(tokens, positions=inputs.positions, languages=inputs.segments)]
        seen = visibility(inputs.layout, states[0])
        for block in self.layers:
            states.append(block(states[-1], seen))
        return states


class SourceEncoder(nn.Module):
    """An encoder for another language, whose last hidden states take the place of an encoder-decoder's token embeddings (Lewis et
    al. 2020, section 3.4).

    Args:
        settings: the shape of the encoder-decoder; its widths are also those of this encoder.
        vocabulary_size: the number of rows of its own token embedding.
        layers: the number of its blocks.
    """

    def __init__(self, settings: EncoderDecoderSettings, vocabulary_size: int, layers: int) -> None:
        super().__init__()
        self.token = nn.Embedding(vocabulary_size, settings.width)
        self.stack = _Stack(settings, PostNormBlock, layers)
        initialise(self, settings.initial_std, settings.initial_truncated)

    def forward(self, inputs: Inputs) -> Tensor:
        """Return the last hidden states.  # [batch, length, width]"""
        return self.stack.states(self.token(inputs.ids), inputs)[-1]


backbone = EncoderDecoder
