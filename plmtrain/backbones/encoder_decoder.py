"""BART's backbone (Lewis et al. 2020, section 2.1): a bidirectional encoder and an autoregressive decoder.

Both are post-LN with learned positions and a layer norm after the embedding sum. Embeddings are not scaled, and there is no
layer norm after the last block. The encoder, the decoder and the output layer share one token embedding.
"""

from __future__ import annotations

from torch import Tensor, nn

from plmtrain.backbones import Backbone
from plmtrain.batch import Inputs
from plmtrain.nn.attention import Cache, Visibility, cross_visibility, visibility
from plmtrain.nn.blocks import BlockCache, PostNormBlock, PostNormDecoderBlock
from plmtrain.nn.initialisation import initialise
from plmtrain.nn.positioned import PositionedEmbeddings
from plmtrain.settings.models.encoder_decoder import EncoderDecoderSettings


class EncoderDecoder(Backbone):
    """A post-LN encoder and decoder.

    Args:
        settings: the shape of the model.
        vocabulary_size: the number of rows of the token embedding.
    """

    settings: EncoderDecoderSettings
    writes = True

    def __init__(self, settings: EncoderDecoderSettings, vocabulary_size: int) -> None:
        super().__init__(settings, vocabulary_size)
        self.width = self.embedding_width = settings.width
        self.token = nn.Embedding(vocabulary_size, settings.width)
        self.encoder = _Stack(settings, PostNormBlock)
        self.decoder = _Stack(settings, PostNormDecoderBlock)
        initialise(self, settings.initial_std, settings.initial_truncated)

    @property
    def embedding_weight(self) -> Tensor:
        return self.token.weight

    def encode_layers(self, inputs: Inputs) -> list[Tensor]:
        assert inputs.segments is None, "there are no segments"
        assert inputs.positions is None, "positions are counted along the row"
        states: list[Tensor] = [self.encoder.embeddings(self.token(inputs.ids))]
        seen = visibility(inputs.layout, states[0])
        for block in self.encoder.layers:
            states.append(block(states[-1], seen))
        return states

    def decode(self, inputs: Inputs, memory: Tensor, cache: list[BlockCache] | None = None) -> Tensor:
        """Return the decoder's last hidden states.

        Args:
            inputs: ``inputs.decoder`` has the tokens so far, with a causal layout. With a cache, it has only the tokens that the
                cache does not hold yet: all of a first call, or one at a time.
            memory: [batch, memory length, width] from ``encode``.
            cache: from ``new_cache``; it holds the preceding tokens, and these are added to it.

        Returns:
            [batch, length, width].
        """
        return self._decode_layers(inputs, memory, cache)[-1]

    def _decode_layers(self, inputs: Inputs, memory: Tensor, cache: list[BlockCache] | None = None) -> list[Tensor]:
        """Return the output of the decoder's embeddings and of each of its layers; arguments as in ``decode``."""
        own = inputs.decoder
        assert own is not None, "the decoder has no inputs"
        past = cache[0].own.length if cache is not None else 0
        states: list[Tensor] = [self.decoder.embeddings(self.token(own.ids), past)]
        assert not past or own.ids.shape[1] == 1
        seen = Visibility() if past else visibility(own.layout, states[0])  # a single new token sees all preceding ones
        memory_seen = cross_visibility(own.layout, inputs.layout, states[0])
        for index, block in enumerate(self.decoder.layers):
            states.append(block(states[-1], seen, memory, memory_seen, None if cache is None else cache[index]))
        return states

    def all_layers(self, inputs: Inputs) -> list[Tensor]:
        encoded = self.encode_layers(inputs)
        return [*encoded, *self._decode_layers(inputs, encoded[-1])]

    def hidden(self, inputs: Inputs) -> Tensor:
        return self.decode(inputs, self.encode(inputs))

    def new_cache(self, length: int, memory_length: int) -> list[BlockCache]:
        """Make an empty cache for ``decode``.

        Args:
            length: the maximum number of generated tokens.
            memory_length: the length of the memory.
        """
        return [BlockCache(Cache(length), Cache(memory_length)) for _ in self.decoder.layers]

    def blocks(self) -> list[nn.Module]:
        return [*self.encoder.layers, *self.decoder.layers]


class _Stack(nn.Module):
    """The embeddings and blocks of the encoder or the decoder."""

    def __init__(self, settings: EncoderDecoderSettings, block: type[PostNormBlock]) -> None:
        super().__init__()
        self.embeddings = PositionedEmbeddings(
            settings.width, settings.positions, settings.position_offset, settings.norm_eps, settings.dropout
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
            for _ in range(settings.layers)
        )


backbone = EncoderDecoder
