"""Transformer blocks: post-LN (Vaswani et al. 2017, section 3.1) as in BERT, with cross-attention for BART's decoder, and pre-LN.

Pre-LN is GPT-2's (Radford et al. 2019, section 2.3).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from plmtrain.nn.activations import activate
from plmtrain.nn.attention import CrossAttention, SelfAttention, Visibility
from plmtrain.nn.cache import Cache
from plmtrain.nn.distillation import attention_scores
from plmtrain.nn.dropout import add_dropped


class Block(nn.Module):
    """The two sub-layers of a block, each with its norm; subclasses define the order.

    Args:
        width: the size of a hidden state.
        heads: attention heads.
        feed_forward: the size of the inner layer.
        activation: of the inner layer: ``gelu``, ``gelu_tanh`` or ``relu``.
        norm_eps: added to the variance by the norms.
        dropout: of each sub-layer's output.
        attention_dropout: of attention weights.
    """

    entries: ClassVar[tuple[str, ...]] = ("attention_scores",)
    """The methods besides ``forward`` that others call."""

    def __init__(
        self,
        width: int,
        heads: int,
        feed_forward: int,
        activation: str,
        norm_eps: float,
        dropout: float,
        attention_dropout: float,
    ) -> None:
        super().__init__()
        self.activation = activation
        self.dropout = dropout
        self.attention = SelfAttention(width, heads, attention_dropout)
        self.attention_norm = nn.LayerNorm(width, eps=norm_eps)
        self.feed_forward_in = nn.Linear(width, feed_forward)
        self.feed_forward_out = nn.Linear(feed_forward, width)
        self.feed_forward_norm = nn.LayerNorm(width, eps=norm_eps)

    def attention_scores(self, hidden: Tensor) -> Tensor:
        """Return the scores of the attention of the layer, given the input of the layer.  # -> [batch, heads, query, key]"""
        return attention_scores(self.attention, self.attended(hidden))

    def attended(self, hidden: Tensor) -> Tensor:
        """Return what the attention of the layer reads, given the input of the layer.  # [batch, length, width] -> the same"""
        return hidden

    def _inner(self, hidden: Tensor) -> Tensor:
        """Compute the feed-forward sub-layer, without its norm and the residual."""
        inner = activate(self.activation, self.feed_forward_in(hidden))  # [batch, length, feed_forward]
        fed: Tensor = self.feed_forward_out(inner)
        return fed

    def _add(self, residual: Tensor, hidden: Tensor) -> Tensor:
        return add_dropped(residual, hidden, self.dropout, self.training)


class PreNormBlock(Block):
    """x = x + drop(attention(norm(x))), then x = x + drop(feed_forward(norm(x))) (Radford et al. 2019, section 2.3).

    Args:
        width, heads, feed_forward, activation, norm_eps, dropout, attention_dropout: as in ``Block``.
    """

    def forward(self, hidden: Tensor, seen: Visibility, cache: Cache | None = None) -> Tensor:
        """Compute the layer; the cache has the positions before these.  # [batch, length, width] -> the same"""
        hidden = self._add(hidden, self.attention(self.attended(hidden), seen, cache))
        return self._add(hidden, self._inner(self.feed_forward_norm(hidden)))

    def attended(self, hidden: Tensor) -> Tensor:
        normed: Tensor = self.attention_norm(hidden)
        return normed


class PostNormBlock(Block):
    """x = norm(x + drop(attention(x))), then x = norm(x + drop(feed_forward(x))).

    Args:
        width, heads, feed_forward, activation, norm_eps, dropout, attention_dropout: as in ``Block``.
    """

    entries = (*Block.entries, "at")

    def forward(self, hidden: Tensor, seen: Visibility, cache: Cache | None = None) -> Tensor:
        """Compute the layer; the cache has the positions before these.  # [batch, length, width] -> the same"""
        hidden = self.attention_norm(self._add(hidden, self.attention(hidden, seen, cache)))
        return self._fed_forward(hidden)

    def at(self, hidden: Tensor, seen: Visibility, positions: Tensor) -> Tensor:
        """Compute the layer at some positions only: all are attended to, and the rest is computed for those alone.

        Args:
            hidden: [batch, length, width].
            seen: which positions see each other.
            positions: [n] indices into batch * length.

        Returns:
            [n, width].
        """
        mixed, residual = (
            states.flatten(0, 1).index_select(0, positions) for states in (self.attention.mixed(hidden, seen), hidden)
        )
        return self._fed_forward(self.attention_norm(self._add(residual, self.attention.output(mixed))))

    def _fed_forward(self, hidden: Tensor) -> Tensor:
        fed: Tensor = self.feed_forward_norm(self._add(hidden, self._inner(hidden)))
        return fed


@dataclass(frozen=True)
class BlockCache:
    """The keys and values that a decoder's block has computed so far.

    Args:
        own: of the sequence that is being generated.
        cross: of the memory.
    """

    own: Cache
    cross: Cache

    def select(self, rows: Tensor) -> None:
        """Continue with some rows of the batch, in that order.  # [rows] indices"""
        self.own.select(rows)
        self.cross.select(rows)


class PostNormDecoderBlock(PostNormBlock):
    """``PostNormBlock`` with attention to a memory between its two halves: x = norm(x + drop(cross_attention(x, memory))).

    Args:
        width, heads, feed_forward, activation, norm_eps, dropout, attention_dropout: as in ``Block``.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        feed_forward: int,
        activation: str,
        norm_eps: float,
        dropout: float,
        attention_dropout: float,
    ) -> None:
        super().__init__(width, heads, feed_forward, activation, norm_eps, dropout, attention_dropout)
        self.cross_attention = CrossAttention(width, heads, attention_dropout)
        self.cross_attention_norm = nn.LayerNorm(width, eps=norm_eps)

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
        hidden = self.attention_norm(self._add(hidden, self.attention(hidden, seen, own)))
        hidden = self.cross_attention_norm(self._add(hidden, self.cross_attention(hidden, memory, memory_seen, cross)))
        return self._fed_forward(hidden)
