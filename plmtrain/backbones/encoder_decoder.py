"""BART's backbone (Lewis et al. 2020, section 2.1): an encoder that sees a whole row, a decoder that writes one from the left.

Both are post-LN with learned positions and a norm behind the embedding sum; embeddings are not scaled, and there is no norm
behind the last block. One token table serves the encoder, the decoder and whoever scores the vocabulary.
"""

from __future__ import annotations

from torch import Tensor, nn

from plmtrain.backbones import Backbone
from plmtrain.batch import Layout
from plmtrain.nn.attention import Cache, Visibility, cross_visibility, visibility
from plmtrain.nn.blocks import BlockCache, PostNormBlock, PostNormDecoderBlock
from plmtrain.nn.initialisation import initialise
from plmtrain.nn.positioned import PositionedEmbeddings
from plmtrain.settings.models.encoder_decoder import EncoderDecoderSettings


class EncoderDecoder(Backbone):
    """A post-LN encoder and decoder.

    Args:
        settings: the shape of the model.
        vocabulary_size: rows of the token embedding.
    """

    settings: EncoderDecoderSettings

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

    def encode(self, ids: Tensor, layout: Layout, segments: Tensor | None = None, positions: Tensor | None = None) -> Tensor:
        """The encoder's last states; there are no segments, and positions are those of the row.

        Args:
            ids: [batch, length] token ids.
            layout: who may see whom.
            segments, positions: must be None.

        Returns:
            [batch, length, width].
        """
        assert segments is None
        assert positions is None
        return self.encode_layers(ids, layout)[-1]

    def encode_layers(self, ids: Tensor, layout: Layout) -> list[Tensor]:
        """The encoder's embeddings and the output of every layer, each [batch, length, width]."""
        states: list[Tensor] = [self.encoder.embeddings(self.token(ids))]
        seen = visibility(layout, states[0])
        for block in self.encoder.layers:
            states.append(block(states[-1], seen))
        return states

    def decode(
        self,
        ids: Tensor,
        memory: Tensor,
        layout: Layout,
        memory_layout: Layout,
        cache: list[BlockCache] | None = None,
    ) -> Tensor:
        """The decoder's last states.

        Args:
            ids: [batch, length] the tokens so far; with a cache those that it does not know yet.
            memory: [batch, memory length, width] from ``encode``.
            layout: who may see whom among the tokens. It should be causal.
            memory_layout: the layout that the memory was encoded with.
            cache: from ``new_cache``; its tokens stand before these, and it learns these. All at once, or one at a time.

        Returns:
            [batch, length, width].
        """
        past = cache[0].own.length if cache is not None else 0
        hidden: Tensor = self.decoder.embeddings(self.token(ids), past)
        assert not past or ids.shape[1] == 1
        seen = Visibility() if past else visibility(layout, hidden)  # a single new token sees all before it
        memory_seen = cross_visibility(layout, memory_layout, hidden)
        for index, block in enumerate(self.decoder.layers):
            hidden = block(hidden, seen, memory, memory_seen, None if cache is None else cache[index])
        return hidden

    def new_cache(self, length: int, memory_length: int) -> list[BlockCache]:
        """An empty cache for ``decode``.

        Args:
            length: the most tokens that will be written.
            memory_length: of the memory.
        """
        return [BlockCache(Cache(length), Cache(memory_length)) for _ in self.decoder.layers]

    def blocks(self) -> list[nn.Module]:
        return [*self.encoder.layers, *self.decoder.layers]


class _Stack(nn.Module):
    """The embeddings and blocks of one side."""

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
