"""XLNet (Yang et al. 2019, sections 2.3 to 2.5): a content stream that encodes a row, and a query stream that predicts it.

Both streams use the same weights. A content state encodes its position and its token. A query state encodes its position and
the tokens before it in the order of prediction, not its own token. Keys and values come from the content stream and from the
memory of the preceding rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from plmtrain.backbones import Backbone
from plmtrain.batch import Inputs
from plmtrain.nn.activations import activate
from plmtrain.nn.attention import may_see, ready
from plmtrain.nn.dropout import add_dropped, dropout
from plmtrain.nn.initialisation import glorot, initialise
from plmtrain.nn.relative_attention import RelativeAttention, Sight, places_in_table, sinusoids
from plmtrain.settings.models.two_stream import TwoStreamSettings

NOTHING = -1
"""The document id of an empty memory position."""


class Memory(NamedTuple):
    """Hidden states of the preceding rows, without a gradient. They count as the first segment."""

    states: Tensor
    """[batch, layers, remembered, width], the inputs of each layer, the latest last."""
    documents: Tensor
    """[batch, remembered], the document of each position, ``NOTHING`` where it is empty."""


def remember(memory: Memory | None, states: Sequence[Tensor], documents: Tensor, reuse: int, most: int) -> Memory:
    """Return the memory for the next row (section 2.4): the previous memory, then the start of this row.

    Args:
        memory: the memory of the preceding rows, or None.
        states: the inputs of each layer, [batch, length, width] each.
        documents: [batch, length] the document of each token, ``NOTHING`` at padding.
        reuse: the number of tokens at the start of the row that the next row does not read again.
        most: the maximum number of tokens to keep; older ones are dropped.
    """
    kept = torch.stack([state[:, :reuse] for state in states], dim=1).detach()
    documents = documents[:, :reuse]
    if memory is not None:
        kept = torch.cat([memory.states.to(kept.dtype), kept], dim=2)
        documents = torch.cat([memory.documents, documents], dim=1)
    first = max(0, kept.shape[2] - most)
    return Memory(kept[:, :, first:].contiguous(), documents[:, first:].contiguous())


class TwoStreamBlock(nn.Module):
    """Relative attention and a feed-forward layer, each followed by a layer norm, for one stream or both.

    Args:
        settings: the shape of the model.
    """

    def __init__(self, settings: TwoStreamSettings) -> None:
        super().__init__()
        self.activation, self.dropout = settings.activation, settings.dropout
        self.attention = RelativeAttention(settings.width, settings.heads, settings.attention_dropout)
        self.attention_norm = nn.LayerNorm(settings.width, eps=settings.norm_eps)
        self.feed_forward_in = nn.Linear(settings.width, settings.feed_forward)
        self.feed_forward_out = nn.Linear(settings.feed_forward, settings.width)
        self.feed_forward_norm = nn.LayerNorm(settings.width, eps=settings.norm_eps)

    def forward(
        self, content: Tensor, memory: Tensor | None, table: Tensor, streams: Sequence[tuple[Tensor, Sight]]
    ) -> list[Tensor]:
        """Run one layer.

        Args:
            content: [batch, length, width] the content stream, from which keys and values are computed.
            memory: [batch, remembered, width] this layer's inputs of the preceding rows, or None.
            table: the encodings of relative distances.
            streams: the query states of each stream, [batch, query, width], each with its visibility.

        Returns:
            The output states of each stream.
        """
        seen = content if memory is None else torch.cat([memory.to(content.dtype), content], dim=1)
        keys = self.attention.keys(seen, table)
        return [self._feed_forward(hidden, self.attention(hidden, keys, sight)) for hidden, sight in streams]

    def _feed_forward(self, hidden: Tensor, mixed: Tensor) -> Tensor:
        hidden = self.attention_norm(add_dropped(hidden, mixed, self.dropout, self.training))
        inner = dropout(activate(self.activation, self.feed_forward_in(hidden)), self.dropout, self.training)
        output: Tensor = self.feed_forward_norm(add_dropped(hidden, self.feed_forward_out(inner), self.dropout, self.training))
        return output


class TwoStream(Backbone):
    """XLNet without its output layer.

    Args:
        settings: the shape of the model.
        vocabulary_size: the number of rows of the token embedding.
    """

    settings: TwoStreamSettings

    def __init__(self, settings: TwoStreamSettings, vocabulary_size: int) -> None:
        super().__init__(settings, vocabulary_size)
        self.width = self.embedding_width = settings.width
        self.token = nn.Embedding(vocabulary_size, settings.width)
        self.mask = nn.Parameter(torch.empty(1, 1, settings.width))  # the initial query state: w in section 2.3
        self.layers = nn.ModuleList(TwoStreamBlock(settings) for _ in range(settings.layers))
        initialise(self, settings.initial_std, settings.initial_truncated)
        glorot(self.mask, 1, settings.width)  # the authors' code leaves it to TensorFlow
        for part in self.modules():
            if isinstance(part, RelativeAttention):
                part.initialise(settings.initial_std)

    @property
    def embedding_weight(self) -> Tensor:
        return self.token.weight

    def encode(self, inputs: Inputs) -> Tensor:
        """Return the content stream; without ranks in the layout, attention is bidirectional.  # [batch, length, width]"""
        return self._drop(self.encode_layers(inputs)[-1])

    def encode_layers(self, inputs: Inputs, memory: Memory | None = None) -> list[Tensor]:
        """Return the content stream's input of each layer, and the last layer's output, [batch, length, width] each.

        Args:
            inputs: without positions, since positions are relative.
            memory: the memory of the preceding rows, or None.
        """
        assert inputs.positions is None, "there are no absolute positions"
        states = [self._drop(self.token(inputs.ids))]
        table = self._table(states[0], memory)
        sight = self._sight(states[0], inputs, memory)
        for number, block in enumerate(self.layers):
            remembered = None if memory is None else memory.states[:, number]
            states += block(states[-1], remembered, table, [(states[-1], sight)])
        return states

    def predict(self, inputs: Inputs, places: Tensor, memory: Memory | None = None) -> tuple[Tensor, list[Tensor]]:
        """Compute both streams, the query stream at the given positions only.

        Args:
            inputs: the tokens, including those to predict. With ``ranks`` in the layout, a query state sees the tokens of
                lower rank than its own, and never its own token.
            places: [batch, predicted] the positions to predict.
            memory: the memory of the preceding rows, or None.

        Returns:
            The last query states, [batch, predicted, width], and the content stream's input of each layer, [batch, length,
            width] each, for ``remember``. The content stream's last output is not needed and not computed.
        """
        content = self._drop(self.token(inputs.ids))
        query = self._drop(self.mask.expand(*places.shape, -1))
        table = self._table(content, memory)
        sight = self._sight(content, inputs, memory)
        query_sight = self._query_sight(content, inputs, memory, places)
        read = [content]
        for number, block in enumerate(self.layers):
            remembered = None if memory is None else memory.states[:, number]
            if number == len(self.layers) - 1:
                (query,) = block(content, remembered, table, [(query, query_sight)])
            else:
                content, query = block(content, remembered, table, [(content, sight), (query, query_sight)])
                read.append(content)
        return self._drop(query), read

    def unread_by_encode(self) -> list[nn.Parameter]:
        return [self.mask]

    def blocks(self) -> list[nn.Module]:
        return list(self.layers)

    def _drop(self, hidden: Tensor) -> Tensor:
        return dropout(hidden, self.settings.dropout, self.training)

    def _table(self, content: Tensor, memory: Memory | None) -> Tensor:
        """Return the encodings of relative distances. Their dropout is the same in all rows, as in Transformer-XL's code."""
        length = content.shape[1]
        keys = length + (0 if memory is None else memory.documents.shape[1])
        return self._drop(sinusoids(length, keys, self.width, content.device).to(content.dtype))

    def _sight(self, content: Tensor, inputs: Inputs, memory: Memory | None) -> Sight:
        """Return the content stream's visibility: what the layout allows, the memory, and always its own position."""
        length, segments = content.shape[1], inputs.segments
        seen = may_see(inputs.layout, length, content.device)
        if seen is not None:
            seen = seen | torch.eye(length, dtype=torch.bool, device=content.device)
        return self._with_memory(content, seen, segments, segments, inputs.layout.documents, memory)

    def _query_sight(self, content: Tensor, inputs: Inputs, memory: Memory | None, places: Tensor) -> Sight:
        """Return the query stream's visibility: what the layout allows at lower ranks, the memory, and never its own position."""
        length, layout, segments = content.shape[1], inputs.layout, inputs.segments
        seen = torch.arange(length, device=places.device) != places[..., None]  # [batch, predicted, length]
        if layout.ranks is not None:
            seen &= layout.ranks[:, None, :] < layout.ranks.gather(1, places)[..., None]
        rest = may_see(replace(layout, ranks=None), length, content.device)
        if rest is not None:
            seen &= rest if rest.shape[1] == 1 else _rows(rest.expand(len(places), -1, -1), places)
        query_segments = None if segments is None else segments.gather(1, places)
        documents = None if layout.documents is None else layout.documents.gather(1, places)
        sight = self._with_memory(content, seen, query_segments, segments, documents, memory)
        keys = length + (0 if memory is None else memory.documents.shape[1])
        return sight._replace(distances=places_in_table(places, length, keys))

    def _with_memory(
        self,
        content: Tensor,
        seen: Tensor | None,
        query_segments: Tensor | None,
        segments: Tensor | None,
        documents: Tensor | None,
        memory: Memory | None,
    ) -> Sight:
        """Return the visibility of queries over the memory followed by the row.

        Args:
            content: gives the device and the dtype.
            seen: [batch or 1, query, length] whether a query sees a position of the row; None for all positions.
            query_segments: [batch, query] the queries' segments.
            segments: [batch, length] the row's segments.
            documents: [batch, query] the queries' documents; None if documents are not isolated.
            memory: the memory of the preceding rows, or None.
        """
        differs = None if query_segments is None or segments is None else query_segments[:, :, None] != segments[:, None, :]
        if memory is not None:
            # Empty positions are masked, so a row that starts a new stream computes as without a memory.
            known = memory.documents[:, None, :] != NOTHING  # [batch, 1, remembered]
            if documents is not None:
                known = known & (memory.documents[:, None, :] == documents[:, :, None])
            if seen is None:
                seen = torch.ones(1, content.shape[1], content.shape[1], dtype=torch.bool, device=content.device)
            seen = torch.cat([known.expand(-1, seen.shape[1], -1), seen.expand(len(known), -1, -1)], dim=2)
            if differs is not None and query_segments is not None:
                before = (query_segments != 0)[:, :, None].expand(-1, -1, memory.documents.shape[1])
                differs = torch.cat([before, differs], dim=2)
        visibility = None if seen is None else ready(seen, content)
        kind = content.dtype if visibility is None or visibility.bias is None else visibility.bias.dtype
        return Sight(visibility, None if differs is None else differs[:, None].to(kind))


def _rows(matrices: Tensor, places: Tensor) -> Tensor:
    """Return some rows of each matrix.  # [batch, length, length], [batch, predicted] -> [batch, predicted, length]"""
    return matrices.gather(1, places[..., None].expand(-1, -1, matrices.shape[2]))


backbone = TwoStream
