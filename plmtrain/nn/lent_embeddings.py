"""Token tables that a backbone has from another one in the same learner: a generator and a discriminator share theirs.

The lender alone lists, saves and moves its table, so that none is counted twice.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional


class LentEmbedding(nn.Module):
    """Another backbone's table, which both of them train (Clark et al. 2020, section 3.2).

    Args:
        lender: the table.
    """

    def __init__(self, lender: nn.Embedding) -> None:
        super().__init__()
        self._lender = (lender,)  # in a tuple, where torch does not look for modules

    @property
    def lent(self) -> nn.Parameter:
        """The lender's own weights.  # [vocabulary, width]"""
        weight = self._lender[0].weight
        assert isinstance(weight, nn.Parameter)
        return weight

    @property
    def weight(self) -> Tensor:
        """The table as it is read.  # [vocabulary, width]"""
        return self.lent

    def forward(self, ids: Tensor) -> Tensor:
        """Embed tokens.  # [...] -> [..., width]"""
        return functional.embedding(ids, self.lent)

    def owned(self) -> nn.Embedding:
        """Return an independent table with the same weights."""
        rows, width = self.weight.shape
        table = nn.Embedding(rows, width, _weight=self.weight.detach().clone())
        table.train(self.training)
        return table


class OffsetEmbedding(LentEmbedding):
    """The sum of another backbone's table, which gets no gradient from here, and an own one, which begins at zero: gradient-
    disentangled embedding sharing (He et al. 2021, section 3.3).

    Args:
        lender: the table.
    """

    def __init__(self, lender: nn.Embedding) -> None:
        super().__init__(lender)
        self.offset = nn.Parameter(torch.zeros_like(lender.weight))

    @property
    def weight(self) -> Tensor:
        return self.lent.detach() + self.offset

    def forward(self, ids: Tensor) -> Tensor:
        return functional.embedding(ids, self.lent.detach()) + functional.embedding(ids, self.offset)

    @torch.no_grad()
    def divide(self, weights: Mapping[str, Tensor], name: str, lender_is_loaded: bool) -> dict[str, Tensor]:
        """Return the weights of a backbone with a whole table as this module divides it.

        Args:
            weights: by name; the table is ``NAME.weight``.
            name: of this module in the backbone.
            lender_is_loaded: whether the lender's table stays as it is, so that the own one is the difference; otherwise it
                becomes the whole table, and the own one zero.
        """
        table = weights[f"{name}.weight"].to(self.lent)
        if not lender_is_loaded:
            self.lent.copy_(table)
        rest = {key: tensor for key, tensor in weights.items() if key != f"{name}.weight"}
        return {**rest, f"{name}.offset": table - self.lent}
