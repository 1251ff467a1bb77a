"""The input of an encoder-decoder's two stacks: token and position embeddings, added and normed (Lewis et al. 2020, section
2.1), in MASS with those of languages (Song et al. 2019, section 4.1)."""

from __future__ import annotations

from torch import Tensor, nn

from plmtrain.nn.dropout import dropout


class PositionedEmbeddings(nn.Module):
    """drop(norm(token + position + language)) of token embeddings from elsewhere, a table that several parts share.

    Args:
        width: the size of an embedding.
        positions: the longest sequence.
        position_offset: unused rows at the beginning of the position table.
        norm_eps: added to the variance by the norm.
        dropout: of the embeddings.
        languages: rows of the table of languages; 0 for none.
    """

    def __init__(
        self, width: int, positions: int, position_offset: int, norm_eps: float, dropout: float, languages: int = 0
    ) -> None:
        super().__init__()
        self.position_offset = position_offset
        self.dropout = dropout
        self.position = nn.Embedding(positions + position_offset, width)
        self.language = nn.Embedding(languages, width) if languages else None
        self.norm = nn.LayerNorm(width, eps=norm_eps)

    def forward(self, tokens: Tensor, first: int = 0, positions: Tensor | None = None, languages: Tensor | None = None) -> Tensor:
        """Add positions, and languages where there are any, to token embeddings.

        Args:
            tokens: [batch, length, width].
            first: the position of the first of them.
            positions: [batch, length] their positions instead, counted from 0; None for their order in the row.
            languages: [batch, length] numbers of languages; None for no language.

        Returns:
            The shape of ``tokens``.
        """
        if positions is None:
            begin = self.position_offset + first
            placed = self.position.weight[begin : begin + tokens.shape[1]]  # [length, width]
        else:
            placed = self.position(positions + self.position_offset)  # [batch, length, width]
        if languages is not None:
            assert self.language is not None, "the model has no languages"
            placed = placed + self.language(languages)
        return dropout(self.norm(tokens + placed), self.dropout, self.training)
