"""A trained mix of the layers of a model (Peters et al. 2018, section 3.2)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


class ScalarMix(nn.Module):
    """gamma * sum over layers of softmax(w) * states: equation 1.

    Args:
        layers: the numbers of the layers that are mixed; 0 is that of the embeddings.
        normed: whether the states of each layer are normed first.
    """

    def __init__(self, layers: Sequence[int], *, normed: bool = False) -> None:
        super().__init__()
        self.layers, self.normed = tuple(layers), normed
        self.weights = nn.Parameter(torch.zeros(len(self.layers)))
        self.gamma = nn.Parameter(torch.ones(()))

    def forward(self, states: Sequence[Tensor]) -> Tensor:
        """Mix layers.

        Args:
            states: [batch, length, width] each, of all layers, with that of the embeddings.

        Returns:
            [batch, length, width].
        """
        states = [states[layer] for layer in self.layers]
        if self.normed:
            states = [functional.layer_norm(each, each.shape[-1:]) for each in states]
        shares = self.weights.softmax(dim=0)
        mixed = torch.stack([share * each for share, each in zip(shares, states, strict=True)]).sum(dim=0)
        return self.gamma * mixed

    def penalty(self) -> Tensor:
        """Return the squared norm of w; a loss that includes it keeps the shares of the layers close to each other."""
        return self.weights.square().sum()
