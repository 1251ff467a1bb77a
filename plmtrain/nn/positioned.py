"""The input of BART's two stacks: token and position embeddings, added and normed (Lewis et al. 2020, section 2.1)."""

from __future__ import annotations

from torch import Tensor, nn

from plmtrain.nn.dropout import dropout


class PositionedEmbeddings(nn.Module):
    """drop(norm(token + position)) of token embeddings that are looked up elsewhere, in a table that several parts share.

    Args:
        width: the size of an embedding.
        positions: the longest sequence.
        position_offset: unused rows at the beginning of the position table.
        norm_eps: added to the variance by the norm.
        dropout: of the embeddings.
    """

    def __init__(self, width: int, positions: int, position_offset: int, norm_eps: float, dropout: float) -> None:
        super().__init__()
        self.position_offset = position_offset
        self.dropout = dropout
        self.position = nn.Embedding(positions + position_offset, width)
        self.norm = nn.LayerNorm(width, eps=norm_eps)

    def forward(self, tokens: Tensor, first: int = 0) -> Tensor:
        """Add positions to token embeddings.

        Args:
            tokens: [batch, length, width].
            first: the position of the first of them.

        Returns:
            The shape of ``tokens``.
        """
        begin = self.position_offset + first
        placed = self.position.weight[begin : begin + tokens.shape[1]]  # [length, width]
        return dropout(self.norm(tokens + placed), self.dropout, self.training)
