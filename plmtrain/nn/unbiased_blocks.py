"""T5's blocks: pre-LN with RMSNorm, unscaled attention, and no biases (Raffel et al. 2020, section 2.1, and the authors'
code)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from plmtrain.nn.activations import activate
from plmtrain.nn.attention import CrossAttention, JoinedLinear, SelfAttention, Visibility
from plmtrain.nn.blocks import BlockCache
from plmtrain.nn.cache import Cache
from plmtrain.nn.dropout import add_dropped, dropout


@dataclass(frozen=True, kw_only=True)
class UnbiasedShape:
    """The shape of a block.

    Args:
        width: the size of a hidden state.
        heads: attention heads.
        head_width: the size of a head.
        feed_forward: the size of the inner layer.
        activation: of the inner layer: ``gelu``, ``gelu_tanh`` or ``relu``.
        gated: whether the activated inner layer is multiplied by another linear layer (Shazeer 2020, "GLU variants").
        norm_eps: added to the mean square by the norms.
        dropout: of each sub-layer's output, and of the inner layer.
        attention_dropout: of attention weights.
    """

    width: int
    heads: int
    head_width: int
    feed_forward: int
    activation: str
    gated: bool
    norm_eps: float
    dropout: float
    attention_dropout: float


class UnbiasedBlock(nn.Module):
    """x = x + drop(attention(norm(x))), then x = x + drop(feed_forward(norm(x))).

    Args:
        shape: the shape of the block.
    """

    def __init__(self, shape: UnbiasedShape) -> None:
        super().__init__()
        self.shape = shape
        self.attention_norm = nn.RMSNorm(shape.width, eps=shape.norm_eps)
        self.attention = SelfAttention(
            shape.width, shape.heads, shape.attention_dropout, head_width=shape.head_width, bias=False, scale=1.0
        )
        self.feed_forward_norm = nn.RMSNorm(shape.width, eps=shape.norm_eps)
        self.feed_forward_in = JoinedLinear(shape.width, 1 + shape.gated, shape.feed_forward, bias=False)
        self.feed_forward_out = nn.Linear(shape.feed_forward, shape.width, bias=False)

    def forward(self, hidden: Tensor, seen: Visibility, cache: Cache | None = None) -> Tensor:
        """Compute the layer; the cache has the positions before these.  # [batch, length, width] -> the same"""
        return self._fed_forward(self._attended(hidden, seen, cache))

    def _attended(self, hidden: Tensor, seen: Visibility, cache: Cache | None) -> Tensor:
        return self._add(hidden, self.attention(self.attention_norm(hidden), seen, cache))

    def _fed_forward(self, hidden: Tensor) -> Tensor:
        inner = self.feed_forward_in(self.feed_forward_norm(hidden))
        if self.shape.gated:
            gate, linear = inner.chunk(2, dim=-1)  # each [batch, length, feed_forward]
            inner = activate(self.shape.activation, gate) * linear
        else:
            inner = activate(self.shape.activation, inner)
        return self._add(hidden, self.feed_forward_out(dropout(inner, self.shape.dropout, self.training)))

    def _add(self, residual: Tensor, hidden: Tensor) -> Tensor:
        return add_dropped(residual, hidden, self.shape.dropout, self.training)


class UnbiasedDecoderBlock(UnbiasedBlock):
    """``UnbiasedBlock`` with attention to a memory between its two halves: x = x + drop(cross_attention(norm(x), memory)).

    Args:
        shape: the shape of the block.
    """

    def __init__(self, shape: UnbiasedShape) -> None:
        super().__init__(shape)
        self.cross_attention_norm = nn.RMSNorm(shape.width, eps=shape.norm_eps)
        self.cross_attention = CrossAttention(
            shape.width, shape.heads, shape.attention_dropout, head_width=shape.head_width, bias=False, scale=1.0
        )

    def forward(  # type: ignore[override]  # a decoder's block never stands in for an encoder's
        self, hidden: Tensor, seen: Visibility, memory: Tensor, memory_seen: Visibility, cache: BlockCache | None = None
    ) -> Tensor:
        """Compute the layer.

        Args:
            hidden: [batch, length, width].
            seen: which of its positions see each other.
            memory: [batch, memory length, width].
            memory_seen: which positions see which of the memory.
            cache: of the positions before these.

        Returns:
            The shape of ``hidden``.
        """
        own, cross = (None, None) if cache is None else (cache.own, cache.cross)
        hidden = self._attended(hidden, seen, own)
        mixed = self.cross_attention(self.cross_attention_norm(hidden), memory, memory_seen, cross)
        return self._fed_forward(self._add(hidden, mixed))
