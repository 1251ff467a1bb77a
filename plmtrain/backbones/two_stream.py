"""XLNet (Yang et al. 2019, sections 2.3 to 2.5): a content stream that reads a row, and a query stream that predicts it.

Both have the same weights. A content state stands for a token and may know it; a query state knows only its place and what
comes before it in the order of prediction. Keys and values come from the content stream, and from the memory of the row before.
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
from plmtrain.nn.initialisation import initialise
from plmtrain.nn.relative_attention import RelativeAttention, Sight, places_in_table, sinusoids
from plmtrain.settings.models.two_stream import TwoStreamSettings

NOTHING = -1
"""The document of a place of the memory that holds nothing."""


class Memory(NamedTuple):
    """What the rows before left, without a gradient. Its segment is the first one."""

    states: Tensor
    """[batch, layers, remembered, width], what each layer read, the latest at the end."""
    documents: Tensor
    """[batch, remembered], the document of each place, ``NOTHING`` where there is none to see."""


def remember(memory: Memory | None, states: Sequence[Tensor], documents: Tensor, reuse: int, most: int) -> Memory:
    """The memory for the next row (section 2.4): the one before, and behind it the beginning of this row.

    Args:
        memory: of the rows before; None for none.
        states: what each layer read, [batch, length, width] each.
        documents: [batch, length] the document of each token, ``NOTHING`` at padding.
        reuse: tokens at the beginning of the row that the next row does not read again.
        most: tokens to remember; older ones are forgotten.
    """
    kept = torch.stack([state[:, :reuse] for state in states], dim=1).detach()
    documents = documents[:, :reuse]
    if memory is not None:
        kept = torch.cat([memory.states.to(kept.dtype), kept], dim=2)
        documents = torch.cat([memory.documents, documents], dim=1)
    first = max(0, kept.shape[2] - most)
    return Memory(kept[:, :, first:].contiguous(), documents[:, first:].contiguous())


class TwoStreamBlock(nn.Module):
    """Relative attention and a feed-forward layer, a norm behind each, for one stream or both.

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
        """One layer.

        Args:
            content: [batch, length, width] the content stream, which all streams see.
            memory: [batch, remembered, width] what this layer read before; None for nothing.
            table: of distances.
            streams: the states that ask, [batch, query, width], each with what it sees.

        Returns:
            The states of each stream.
        """
        seen = content if memory is None else torch.cat([memory.to(content.dtype), content], dim=1)
        keys = self.attention.keys(seen, table)
        return [self._beyond(hidden, self.attention(hidden, keys, sight)) for hidden, sight in streams]

    def _beyond(self, hidden: Tensor, mixed: Tensor) -> Tensor:
        hidden = self.attention_norm(add_dropped(hidden, mixed, self.dropout, self.training))
        inner = dropout(activate(self.activation, self.feed_forward_in(hidden)), self.dropout, self.training)
        output: Tensor = self.feed_forward_norm(add_dropped(hidden, self.feed_forward_out(inner), self.dropout, self.training))
        return output


class TwoStream(Backbone):
    """XLNet without its output layer.

    Args:
        settings: the shape of the model.
        vocabulary_size: rows of the token embedding.
    """

    settings: TwoStreamSettings

    def __init__(self, settings: TwoStreamSettings, vocabulary_size: int) -> None:
        super().__init__(settings, vocabulary_size)
        self.width = self.embedding_width = settings.width
        self.token = nn.Embedding(vocabulary_size, settings.width)
        self.mask = nn.Parameter(torch.empty(1, 1, settings.width))  # what a query state begins as: w in section 2.3
        self.layers = nn.ModuleList(TwoStreamBlock(settings) for _ in range(settings.layers))
        initialise(self, settings.initial_std, settings.initial_truncated)
        nn.init.normal_(self.mask, std=settings.initial_std)
        for part in self.modules():
            if isinstance(part, RelativeAttention):
                part.initialise(settings.initial_std)

    @property
    def embedding_weight(self) -> Tensor:
        return self.token.weight

    def encode(self, inputs: Inputs) -> Tensor:
        """Return the content stream: without ranks in the layout, every token sees every other.  # [batch, length, width]"""
        return self._drop(self.encode_layers(inputs)[-1])

    def encode_layers(self, inputs: Inputs, memory: Memory | None = None) -> list[Tensor]:
        """Return what each layer reads in the content stream, and the last one's output, [batch, length, width] each.

        Args:
            inputs: without positions, which are relative.
            memory: of the rows before; None for none.
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
        """Compute both streams, the query stream at some places only.

        Args:
            inputs: the tokens, those to predict among them. With ``ranks`` in the layout, a query state sees the tokens of
                lesser rank than its own, and never its own.
            places: [batch, predicted] positions in the row.
            memory: of the rows before; None for none.

        Returns:
            The last query states, [batch, predicted, width], and what each layer read of the content stream, [batch, length,
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
        """The table of distances. Its dropout is the same in all rows, as in Transformer-XL's code."""
        length = content.shape[1]
        keys = length + (0 if memory is None else memory.documents.shape[1])
        return self._drop(sinusoids(length, keys, self.width, content.device).to(content.dtype))

    def _sight(self, content: Tensor, inputs: Inputs, memory: Memory | None) -> Sight:
        """What the content stream sees: what the layout allows, the memory, and always itself."""
        length, segments = content.shape[1], inputs.segments
        seen = may_see(inputs.layout, length, content.device)
        if seen is not None:
            seen = seen | torch.eye(length, dtype=torch.bool, device=content.device)
        return self._joined(content, seen, segments, segments, inputs.layout.documents, memory)

    def _query_sight(self, content: Tensor, inputs: Inputs, memory: Memory | None, places: Tensor) -> Sight:
        """What the query stream sees: what the layout allows but for equal ranks, the memory, and never itself."""
        length, layout, segments = content.shape[1], inputs.layout, inputs.segments
        seen = torch.arange(length, device=places.device) != places[..., None]  # [batch, predicted, length]
        if layout.ranks is not None:
            seen &= layout.ranks[:, None, :] < layout.ranks.gather(1, places)[..., None]
        rest = may_see(replace(layout, ranks=None), length, content.device)
        if rest is not None:
            seen &= rest if rest.shape[1] == 1 else _rows(rest.expand(len(places), -1, -1), places)
        asking = None if segments is None else segments.gather(1, places)
        documents = None if layout.documents is None else layout.documents.gather(1, places)
        sight = self._joined(content, seen, asking, segments, documents, memory)
        keys = length + (0 if memory is None else memory.documents.shape[1])
        return sight._replace(distances=places_in_table(places, length, keys))

    def _joined(
        self,
        content: Tensor,
        seen: Tensor | None,
        asking: Tensor | None,
        segments: Tensor | None,
        documents: Tensor | None,
        memory: Memory | None,
    ) -> Sight:
        """What queries see, with the memory before the row.

        Args:
            content: for its type.
            seen: [batch or 1, query, length] what they see of the row; None for all of it.
            asking: [batch, query] their segments.
            segments: [batch, length] those of the row.
            documents: [batch, query] their documents where documents are told apart.
            memory: what the rows before left.
        """
        differs = None if asking is None or segments is None else asking[:, :, None] != segments[:, None, :]
        if memory is not None:
            # Who remembers nothing sees no empty place: a row that begins anew is as if there were no memory.
            known = memory.documents[:, None, :] != NOTHING  # [batch, 1, remembered]
            if documents is not None:
                known = known & (memory.documents[:, None, :] == documents[:, :, None])
            if seen is None:
                seen = torch.ones(1, content.shape[1], content.shape[1], dtype=torch.bool, device=content.device)
            seen = torch.cat([known.expand(-1, seen.shape[1], -1), seen.expand(len(known), -1, -1)], dim=2)
            if differs is not None and asking is not None:
                before = (asking != 0)[:, :, None].expand(-1, -1, memory.documents.shape[1])
                differs = torch.cat([before, differs], dim=2)
        visibility = None if seen is None else ready(seen, content)
        kind = content.dtype if visibility is None or visibility.bias is None else visibility.bias.dtype
        return Sight(visibility, None if differs is None else differs[:, None].to(kind))


def _rows(matrices: Tensor, places: Tensor) -> Tensor:
    """Some rows of each matrix.  # [batch, length, length], [batch, predicted] -> [batch, predicted, length]"""
    return matrices.gather(1, places[..., None].expand(-1, -1, matrices.shape[2]))


backbone = TwoStream
