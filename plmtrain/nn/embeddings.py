"""The input of the BERT family: token, position and segment embeddings, added and normed (Devlin et al. 2019, section 3)."""

from __future__ import annotations

import copy

from torch import Tensor, nn

from plmtrain.nn.dropout import dropout
from plmtrain.nn.lent_embeddings import OffsetEmbedding


class Embeddings(nn.Module):
    """drop(norm(token + position + segment)), projected to the blocks' width where that differs.

    Args:
        vocabulary_size: rows of the token table.
        width: the size of an embedding.
        positions: the longest sequence.
        position_offset: unused rows at the beginning of the position table.
        segments: rows of the table of segments, or of languages; 0 for none.
        segments_are_optional: whether nothing is added where no segments are passed, as for languages.
        output_width: the width of the projection; None for no projection.
        norm_eps: added to the variance by the norm.
        dropout: of the embeddings.
    """

    def __init__(
        self,
        vocabulary_size: int,
        width: int,
        positions: int,
        position_offset: int,
        segments: int,
        output_width: int | None,
        norm_eps: float,
        dropout: float,
        segments_are_optional: bool = False,
    ) -> None:
        super().__init__()
        self.segments_are_optional = segments_are_optional
        self.position_offset = position_offset
        self.dropout = dropout
        self.token: nn.Embedding | OffsetEmbedding = nn.Embedding(vocabulary_size, width)
        self.position = nn.Embedding(positions + position_offset, width)
        self.segment = nn.Embedding(segments, width) if segments else None
        self.norm = nn.LayerNorm(width, eps=norm_eps)
        self.projection = nn.Linear(width, output_width) if output_width is not None else None

    def forward(self, ids: Tensor, segments: Tensor | None, positions: Tensor | None) -> Tensor:
        """Embed a batch.

        Args:
            ids: [batch, length] token ids.
            segments: [batch, length] segment ids, or numbers of languages; None for the first segment throughout, or no language.
            positions: [batch, length] positions counted from 0; None for their order in the row.

        Returns:
            [batch, length, output width].
        """
        return _projected(self.embed(ids, segments, positions), self.projection)

    def embed(self, ids: Tensor, segments: Tensor | None, positions: Tensor | None) -> Tensor:
        """Compute ``forward`` without the projection.  # [batch, length, width]"""
        if positions is None:
            first = self.position_offset
            placed = self.position.weight[first : first + ids.shape[1]]  # [length, width]
        else:
            placed = self.position(positions + self.position_offset)  # [batch, length, width]
        if self.segment is not None and not (segments is None and self.segments_are_optional):
            placed = placed + (self.segment.weight[0] if segments is None else self.segment(segments))
        embedded: Tensor = dropout(self.norm(self.token(ids) + placed), self.dropout, self.training)
        return embedded


class BorrowedEmbeddings(nn.Module):
    """Another backbone's embeddings with a projection of their own.

    The tables and the norm belong to the lender: it alone lists, saves and moves them, so that none is counted twice.

    Args:
        lender: the module that owns the embeddings.
        projection: from their width to the borrower's; None where the widths are equal.
    """

    def __init__(self, lender: Embeddings, projection: nn.Linear | None) -> None:
        super().__init__()
        self._lender = (lender,)  # in a tuple, where torch does not look for modules
        self.projection = projection

    @property
    def token(self) -> nn.Embedding | OffsetEmbedding:
        """The lender's token table."""
        return self._lender[0].token

    @property
    def position(self) -> nn.Embedding:
        """The lender's position table."""
        return self._lender[0].position

    def forward(self, ids: Tensor, segments: Tensor | None, positions: Tensor | None) -> Tensor:
        """Embed a batch; arguments and result as in ``Embeddings``."""
        return _projected(self._lender[0].embed(ids, segments, positions), self.projection)

    def owned(self) -> Embeddings:
        """Return a copy that is independent of the lender."""
        own = copy.deepcopy(self._lender[0])
        own.projection = copy.deepcopy(self.projection)
        return own


def _projected(embedded: Tensor, projection: nn.Linear | None) -> Tensor:
    return embedded if projection is None else projection(embedded)
