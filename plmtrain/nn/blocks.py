"""The Transformer block of the BERT family: a norm behind each sub-layer (Vaswani et al. 2017, section 3.1)."""

from __future__ import annotations

from torch import Tensor, nn

from plmtrain.nn.activations import activate
from plmtrain.nn.attention import SelfAttention, Visibility
from plmtrain.nn.dropout import add_dropped


class PostNormBlock(nn.Module):
    """x = norm(x + drop(attention(x))), then x = norm(x + drop(feed_forward(x))).

    Args:
        width: the size of a hidden state.
        heads: attention heads.
        feed_forward: the size of the inner layer.
        activation: of the inner layer: ``gelu``, ``gelu_tanh`` or ``relu``.
        norm_eps: added to the variance by the norms.
        dropout: of each sub-layer's output.
        attention_dropout: of attention weights.
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
        super().__init__()
        self.activation = activation
        self.dropout = dropout
        self.attention = SelfAttention(width, heads, attention_dropout)
        self.attention_norm = nn.LayerNorm(width, eps=norm_eps)
        self.feed_forward_in = nn.Linear(width, feed_forward)
        self.feed_forward_out = nn.Linear(feed_forward, width)
        self.feed_forward_norm = nn.LayerNorm(width, eps=norm_eps)

    def forward(self, hidden: Tensor, seen: Visibility) -> Tensor:
        """One layer.  # [batch, length, width] -> the same"""
        hidden = self.attention_norm(self._add(hidden, self.attention(hidden, seen)))
        inner = activate(self.activation, self.feed_forward_in(hidden))  # [batch, length, feed_forward]
        hidden = self.feed_forward_norm(self._add(hidden, self.feed_forward_out(inner)))
        return hidden

    def _add(self, residual: Tensor, hidden: Tensor) -> Tensor:
        return add_dropped(residual, hidden, self.dropout, self.training)
