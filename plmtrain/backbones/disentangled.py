"""DeBERTa (He et al. 2020, section 3): an encoder with disentangled attention, and the enhanced mask decoder of its pretraining.

Tokens are embedded without positions: every layer's attention compares distances, whose vectors all layers share. Absolute
positions come in where hidden tokens are predicted, and nowhere else.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from plmtrain.backbones import Backbone
from plmtrain.batch import Inputs
from plmtrain.nn.activations import activate
from plmtrain.nn.attention import Visibility, visibility
from plmtrain.nn.disentangled_attention import DisentangledAttention, DisentangledKeys, Distances
from plmtrain.nn.dropout import add_dropped, dropout
from plmtrain.nn.initialisation import initialise
from plmtrain.settings.models.disentangled import DisentangledSettings


class DisentangledBlock(nn.Module):
    """Disentangled attention and a feed-forward layer, each followed by a layer norm.

    Args:
        settings: the shape of the model.
    """

    def __init__(self, settings: DisentangledSettings) -> None:
        super().__init__()
        self.activation, self.dropout = settings.activation, settings.dropout
        self.attention = DisentangledAttention(
            settings.width,
            settings.heads,
            content_to_position=settings.content_to_position,
            position_to_content=settings.position_to_content,
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
        at: Tensor | None = None,
        times: int = 1,
    ) -> Tensor:
        """Compute the layer.

        Args:
            hidden: [batch, length, width] the states that keys and values are computed from.
            distances: for this length; None without any term of positions.
            seen: which positions see each other.
            queries: [batch, length, width] the states that queries and residuals are taken from; None for ``hidden``.
            at: [n] the positions in batch * length whose results are used; None for all.
            times: how often the layer is applied: again to its own results as queries, with the same keys and values.

        Returns:
            The shape of ``hidden``, or [n, width] at the positions asked for.
        """
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
        self.width = self.embedding_width = settings.width
        self.token = nn.Embedding(vocabulary_size, settings.width)
        self.embedding_norm = nn.LayerNorm(settings.width, eps=settings.norm_eps)
        self.relative = nn.Embedding(2 * settings.relative_positions, settings.width) if settings.position_terms else None
        self.position = nn.Embedding(settings.positions, settings.width) if settings.mask_decoder else None
        self.layers = nn.ModuleList(DisentangledBlock(settings) for _ in range(settings.layers))
        initialise(self, settings.initial_std, settings.initial_truncated)

    @property
    def embedding_weight(self) -> Tensor:
        return self.token.weight

    def encode_layers(self, inputs: Inputs) -> list[Tensor]:
        hidden, distances, seen = self._begin(inputs)
        states = [hidden]
        for block in self.layers:
            states.append(block(states[-1], distances, seen))
        return states

    def encode_at(self, inputs: Inputs, at: Tensor) -> Tensor:
        hidden, distances, seen = self._before_last(inputs)
        encoded: Tensor = self.layers[-1](hidden, distances, seen, at=at)
        return encoded

    def predicting(self, inputs: Inputs) -> Tensor:
        """Return the states of the enhanced mask decoder if there is one, else the encoder's.  # [batch, length, width]"""
        return self.encode(inputs) if self.position is None else self._decoded(inputs, self.position, None)

    def predicting_at(self, inputs: Inputs, at: Tensor) -> Tensor:
        """Return the states of ``predicting`` at some positions.  # [n, width]"""
        return self.encode_at(inputs, at) if self.position is None else self._decoded(inputs, self.position, at)

    def unread_by_encode(self) -> list[nn.Parameter]:
        return [] if self.position is None else list(self.position.parameters())

    def blocks(self) -> list[nn.Module]:
        return list(self.layers)

    def _begin(self, inputs: Inputs) -> tuple[Tensor, Distances | None, Visibility]:
        """Return the embedded tokens, the distances, and which positions see each other."""
        assert inputs.positions is None, "the input has no absolute positions"
        hidden = dropout(self.embedding_norm(self.token(inputs.ids)), self.settings.dropout, self.training)
        return hidden, self._distances(inputs.ids.shape[1]), visibility(inputs.layout, hidden)

    def _before_last(self, inputs: Inputs) -> tuple[Tensor, Distances | None, Visibility]:
        """Return the input of the last layer."""
        hidden, distances, seen = self._begin(inputs)
        for block in self.layers[:-1]:
            hidden = block(hidden, distances, seen)
        return hidden, distances, seen

    def _decoded(self, inputs: Inputs, position: nn.Embedding, at: Tensor | None) -> Tensor:
        """Apply the enhanced mask decoder: the last layer twice, over its usual keys and values. The first queries are its usual
        input with absolute positions."""
        hidden, distances, seen = self._before_last(inputs)
        queries = hidden + position.weight[: hidden.shape[1]]
        decoded: Tensor = self.layers[-1](hidden, distances, seen, queries=queries, at=at, times=2)
        return decoded

    def _distances(self, length: int) -> Distances | None:
        """Return the vectors of the distances within rows of a length: those rows of the table that can occur."""
        if self.relative is None:
            return None
        most = self.settings.relative_positions
        span = min(length, most)
        distances = torch.arange(-length, length + 1, device=self.relative.weight.device)
        rows = (distances + span).clamp(0, 2 * span - 1)
        return Distances(self.relative.weight[most - span : most + span], rows)


backbone = Disentangled
