"""DeBERTa (He et al. 2020, section 3): an encoder with disentangled attention, and the enhanced mask decoder of its pretraining.

Tokens are embedded without positions: every layer's attention compares distances, whose vectors all layers share. Absolute
positions come in where hidden tokens are predicted, and nowhere else: they belong to the head. The second version adds a
convolution beside the first layer; it and the third differ from the first in attention, too.
"""

from __future__ import annotations

import copy
from typing import ClassVar

from torch import Tensor, nn

from plmtrain.backbones import Backbone
from plmtrain.batch import Inputs
from plmtrain.nn.activations import activate
from plmtrain.nn.attention import Visibility, visibility
from plmtrain.nn.convolution import InputConvolution
from plmtrain.nn.disentangled_attention import DisentangledAttention, DisentangledKeys, Distances, rows_of_distances
from plmtrain.nn.dropout import add_dropped, dropout
from plmtrain.nn.heads import MaskDecoderHead
from plmtrain.nn.initialisation import initialise
from plmtrain.nn.lent_embeddings import LentEmbedding, OffsetEmbedding
from plmtrain.settings.models.disentangled import DisentangledSettings


class DisentangledBlock(nn.Module):
    """Disentangled attention and a feed-forward layer, each followed by a layer norm.

    Args:
        settings: the shape of the model.
    """

    entries: ClassVar[tuple[str, ...]] = ("at",)
    """The methods besides ``forward`` that others call."""

    def __init__(self, settings: DisentangledSettings) -> None:
        super().__init__()
        self.activation, self.dropout = settings.activation, settings.dropout
        self.attention = DisentangledAttention(
            settings.width,
            settings.heads,
            content_to_position=settings.content_to_position,
            position_to_content=settings.position_to_content,
            shared_projections=settings.shared_projections,
            key_bias=settings.key_bias,
            dropout=settings.dropout,
            attention_dropout=settings.attention_dropout,
        )
        self.attention_norm = nn.LayerNorm(settings.width, eps=settings.norm_eps)
        self.feed_forward_in = nn.Linear(settings.width, settings.feed_forward)
        self.feed_forward_out = nn.Linear(settings.feed_forward, settings.width)
        self.feed_forward_norm = nn.LayerNorm(settings.width, eps=settings.norm_eps)

    def forward(
        self,
        hidden: Tensor,
        distances: Distances | None,
        seen: Visibility,
        queries: Tensor | None = None,
        times: int = 1,
    ) -> Tensor:
        """Compute the layer.

        Args:
            hidden: [batch, length, width] the states that keys and values are computed from.
            distances: for this length; None without any term of positions.
            seen: which positions see each other.
            queries: [batch, length, width] the states that queries and residuals are taken from; None for ``hidden``.
            times: how often the layer is applied: again to its own results as queries, with the same keys and values.

        Returns:
            The shape of ``hidden``.
        """
        return self._repeated(hidden, distances, seen, None, queries, times)

    def at(
        self,
        hidden: Tensor,
        distances: Distances | None,
        seen: Visibility,
        positions: Tensor,
        queries: Tensor | None = None,
        times: int = 1,
    ) -> Tensor:
        """Compute the layer at some positions only, as the last layer of a loss that reads no others.

        Args:
            hidden, distances, seen, queries, times: as in ``forward``.
            positions: [n] indices into batch * length.

        Returns:
            [n, width].
        """
        return self._repeated(hidden, distances, seen, positions, queries, times)

    def _repeated(
        self,
        hidden: Tensor,
        distances: Distances | None,
        seen: Visibility,
        at: Tensor | None,
        queries: Tensor | None,
        times: int,
    ) -> Tensor:
        queries = hidden if queries is None else queries
        keys = self.attention.keys(hidden, distances)
        for _ in range(times - 1):
            queries = self._applied(queries, keys, seen, None)
        return self._applied(queries, keys, seen, at)

    def _applied(self, queries: Tensor, keys: DisentangledKeys, seen: Visibility, at: Tensor | None) -> Tensor:
        mixed = self.attention.mixed(queries, keys, seen)
        if at is not None:
            mixed, queries = (states.flatten(0, 1).index_select(0, at) for states in (mixed, queries))
        hidden = self.attention_norm(self._add(queries, self.attention.output(mixed)))
        inner = activate(self.activation, self.feed_forward_in(hidden))
        fed: Tensor = self.feed_forward_norm(self._add(hidden, self.feed_forward_out(inner)))
        return fed

    def _add(self, residual: Tensor, hidden: Tensor) -> Tensor:
        return add_dropped(residual, hidden, self.dropout, self.training)


class Disentangled(Backbone):
    """DeBERTa without its output layer.

    Args:
        settings: the shape of the model.
        vocabulary_size: the number of rows of the token embedding.
    """

    settings: DisentangledSettings

    def __init__(self, settings: DisentangledSettings, vocabulary_size: int) -> None:
        super().__init__(settings, vocabulary_size)
        width, eps = settings.width, settings.norm_eps
        self.width, self.embedding_width = width, settings.embedding_width or width
        self.token: nn.Embedding | LentEmbedding = nn.Embedding(vocabulary_size, self.embedding_width)
        self.projection = None if self.embedding_width == width else nn.Linear(self.embedding_width, width, bias=False)
        self.embedding_norm = nn.LayerNorm(width, eps=eps)
        self.relative = nn.Embedding(2 * settings.distance_rows, width) if settings.position_terms else None
        self.relative_norm = nn.LayerNorm(width, eps=eps) if settings.position_terms and settings.normed_distances else None
        self.layers = nn.ModuleList(DisentangledBlock(settings) for _ in range(settings.layers))
        self.convolution = None
        if settings.convolution is not None:
            kernel, activation = settings.convolution, settings.convolution_activation
            self.convolution = InputConvolution(width, kernel, activation, norm_eps=eps, dropout=settings.dropout)
        initialise(self, settings.initial_std, settings.initial_truncated)
        if self.convolution is not None:
            self.convolution.convolution.reset_parameters()  # torch's own, which the authors' code leaves as they are

    @property
    def embedding_weight(self) -> Tensor:
        return self.token.weight

    def encode_layers(self, inputs: Inputs) -> list[Tensor]:
        hidden, distances, seen = self._begin(inputs)
        states = [hidden]
        for number in range(len(self.layers)):
            states.append(self._layer(number, states[-1], distances, seen, inputs))
        return states

    def encode_at(self, inputs: Inputs, at: Tensor) -> Tensor:
        if self.convolution is not None and len(self.layers) == 1:
            return self.encode(inputs).flatten(0, 1).index_select(0, at)
        hidden, distances, seen = self._before_last(inputs)
        return self._last.at(hidden, distances, seen, at)

    def predicting(self, inputs: Inputs, head: nn.Module) -> Tensor:
        """Return the states of the enhanced mask decoder if the head has its positions, else the encoder's."""
        return self._decoded(inputs, head, None) if isinstance(head, MaskDecoderHead) else self.encode(inputs)

    def predicting_at(self, inputs: Inputs, head: nn.Module, at: Tensor) -> Tensor:
        return self._decoded(inputs, head, at) if isinstance(head, MaskDecoderHead) else self.encode_at(inputs, at)

    def borrow_embeddings(self, lender: Backbone) -> None:
        """Use the token table of another backbone; all else is this one's own."""
        self.token = LentEmbedding(_table(lender, self))

    def offset_embeddings(self, lender: Backbone) -> None:
        self.token = OffsetEmbedding(_table(lender, self))

    def whole(self) -> Disentangled:
        if isinstance(self.token, nn.Embedding):
            return self
        copied = copy.copy(self)
        copied._modules = {**self._modules, "token": self.token.owned()}
        return copied

    def blocks(self) -> list[nn.Module]:
        return list(self.layers)

    def _begin(self, inputs: Inputs) -> tuple[Tensor, Distances | None, Visibility]:
        """Return the embedded tokens, the distances, and which positions see each other."""
        assert inputs.positions is None, "the input has no absolute positions"
        embedded = self.token(inputs.ids)
        if self.projection is not None:
            embedded = self.projection(embedded)
        hidden = dropout(self.embedding_norm(embedded), self.settings.dropout, self.training)
        return hidden, self._distances(inputs.ids.shape[1]), visibility(inputs.layout, hidden)

    def _layer(self, number: int, hidden: Tensor, distances: Distances | None, seen: Visibility, inputs: Inputs) -> Tensor:
        """Compute a layer at all positions, the first one with what the convolution adds."""
        encoded: Tensor = self.layers[number](hidden, distances, seen)
        return encoded if number or self.convolution is None else self.convolution(hidden, encoded, inputs.layout)

    def _before_last(self, inputs: Inputs) -> tuple[Tensor, Distances | None, Visibility]:
        """Return the input of the last layer."""
        hidden, distances, seen = self._begin(inputs)
        for number in range(len(self.layers) - 1):
            hidden = self._layer(number, hidden, distances, seen, inputs)
        return hidden, distances, seen

    def _decoded(self, inputs: Inputs, head: MaskDecoderHead, at: Tensor | None) -> Tensor:
        """Apply the enhanced mask decoder: the last layer twice, over its usual keys and values. The first queries are its usual
        input with absolute positions."""
        hidden, distances, seen = self._before_last(inputs)
        queries = hidden + head.position.weight[: hidden.shape[1]]
        if at is not None:
            return self._last.at(hidden, distances, seen, at, queries, times=2)
        decoded: Tensor = self._last(hidden, distances, seen, queries, times=2)
        return decoded

    @property
    def _last(self) -> DisentangledBlock:
        last = self.layers[-1]
        assert isinstance(last, DisentangledBlock)
        return last

    def _distances(self, length: int) -> Distances | None:
        """Return the vectors of the distances within rows of a length: those rows of the table that can occur."""
        if self.relative is None:
            return None
        half, settings = self.settings.distance_rows, self.settings
        span, rows = rows_of_distances(length, settings.relative_positions, settings.relative_buckets)
        table = self.relative.weight[half - span : half + span]
        if self.relative_norm is not None:
            table = self.relative_norm(table)
        return Distances(table, rows.to(table.device, non_blocking=True))


def _table(lender: Backbone, borrower: Backbone) -> nn.Embedding:
    """Return the token table of a lender, which must own it."""
    assert isinstance(lender, Disentangled)
    assert isinstance(lender.token, nn.Embedding), "a borrowed table cannot be lent again"
    assert lender.embedding_weight.shape == borrower.embedding_weight.shape
    return lender.token


backbone = Disentangled
