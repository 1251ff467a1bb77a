"""BERT's encoder (Devlin et al. 2019, section 3). RoBERTa, ALBERT, ELECTRA, DistilBERT and XLM are other settings of it.

RoBERTa has a position offset and another norm constant. ALBERT shares one block among all layers. ALBERT and ELECTRA have
embeddings narrower than their hidden states. DistilBERT has no segments; XLM has languages instead. Poolers and output layers
belong to the heads.
"""

from __future__ import annotations

import copy
from dataclasses import replace

from torch import Tensor, nn

from plmtrain.backbones import Backbone
from plmtrain.batch import Inputs
from plmtrain.nn.attention import Visibility, visibility
from plmtrain.nn.blocks import PostNormBlock
from plmtrain.nn.embeddings import BorrowedEmbeddings, Embeddings
from plmtrain.nn.initialisation import glorot, initialise, initialise_by_width
from plmtrain.nn.lent_embeddings import OffsetEmbedding
from plmtrain.nn.neighbours import read_neighbours
from plmtrain.settings.models.encoder import EncoderSettings


class Encoder(Backbone):
    """A post-LN encoder, bidirectional unless the settings say otherwise.

    Args:
        settings: the shape of the model.
        vocabulary_size: the number of rows of the token embedding.
    """

    settings: EncoderSettings

    def __init__(self, settings: EncoderSettings, vocabulary_size: int) -> None:
        super().__init__(settings, vocabulary_size)
        self.width = settings.width
        self.embedding_width = settings.embedding_width or settings.width
        projected = settings.always_project or self.embedding_width != self.width
        self.embeddings: Embeddings | BorrowedEmbeddings = Embeddings(
            vocabulary_size,
            self.embedding_width,
            positions=settings.positions,
            position_offset=settings.position_offset,
            segments=settings.segment_rows,
            segments_are_optional=bool(settings.languages),
            output_width=self.width if projected else None,
            norm_eps=settings.norm_eps,
            dropout=settings.dropout,
        )
        self.layers = nn.ModuleList(
            PostNormBlock(
                settings.width,
                settings.heads,
                settings.feed_forward,
                settings.activation,
                norm_eps=settings.norm_eps,
                dropout=settings.dropout,
                attention_dropout=settings.attention_dropout,
            )
            for _ in range(1 if settings.shared_layers else settings.layers)
        )
        initialise(self, settings.initial_std, settings.initial_truncated)
        if settings.initial_by_width:
            initialise_by_width(self)
        if settings.initial_glorot and (projection := self.embeddings.projection) is not None:
            glorot(projection.weight, self.embedding_width, self.width)

    @property
    def embedding_weight(self) -> Tensor:
        return self.embeddings.token.weight

    def encode_layers(self, inputs: Inputs) -> list[Tensor]:
        states = [self.embeddings(inputs.ids, inputs.segments, inputs.positions)]
        seen = self._visibility(inputs, states[0])
        for layer in range(self.settings.layers):
            block = self.layers[0 if self.settings.shared_layers else layer]
            states.append(block(states[-1], seen))
        return states

    def encode_at(self, inputs: Inputs, at: Tensor) -> Tensor:
        hidden = self.embeddings(inputs.ids, inputs.segments, inputs.positions)
        seen = self._visibility(inputs, hidden)
        for layer in range(self.settings.layers - 1):
            hidden = self.layers[0 if self.settings.shared_layers else layer](hidden, seen)
        # Only these positions of the last layer are used: with 15 % of the tokens predicted, computing all would be wasted work.
        last = self.layers[-1]
        assert isinstance(last, PostNormBlock)
        return last.at(hidden, seen, at)

    def _visibility(self, inputs: Inputs, hidden: Tensor) -> Visibility:
        layout = inputs.layout
        return visibility(replace(layout, causal=True) if self.settings.causal else layout, hidden)

    def look_beside(self) -> None:
        # A layer that is the last one, too, has to do more than to look beside.
        if not self.settings.causal and not self.settings.shared_layers:
            first = self.layers[0]
            assert isinstance(first, PostNormBlock)
            read_neighbours(self.embeddings.position, first.attention, self.embeddings.projection)

    def borrow_embeddings(self, lender: Backbone) -> None:
        assert isinstance(lender, Encoder)
        assert isinstance(lender.embeddings, Embeddings), "borrowed embeddings cannot be lent again"
        assert lender.embedding_weight.shape == self.embedding_weight.shape
        self.embeddings = BorrowedEmbeddings(lender.embeddings, self.embeddings.projection)

    def offset_embeddings(self, lender: Backbone) -> None:
        assert isinstance(lender, Encoder)
        assert isinstance(self.embeddings, Embeddings), "borrowed embeddings have no offset"
        assert isinstance(lender.embeddings, Embeddings), "borrowed embeddings cannot be lent again"
        assert lender.embedding_weight.shape == self.embedding_weight.shape
        assert isinstance(lender.embeddings.token, nn.Embedding), "a table with an offset cannot be lent again"
        self.embeddings.token = OffsetEmbedding(lender.embeddings.token)

    def whole(self) -> Encoder:
        token = self.embeddings.token
        if isinstance(self.embeddings, Embeddings) and isinstance(token, nn.Embedding):
            return self
        copied = copy.deepcopy(self)
        if isinstance(self.embeddings, Embeddings):
            assert isinstance(token, OffsetEmbedding)
            assert isinstance(copied.embeddings, Embeddings)
            copied.embeddings.token = token.owned()
        else:
            copied.embeddings = self.embeddings.owned()
        return copied

    def blocks(self) -> list[nn.Module]:
        return list(self.layers)


backbone = Encoder
