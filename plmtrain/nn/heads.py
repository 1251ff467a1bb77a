"""Heads that stand on a backbone."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from plmtrain.nn.activations import activate
from plmtrain.nn.initialisation import initialise


class MaskedLMHead(nn.Module):
    """Scores over the vocabulary: norm(activation(dense(h))) times the token embeddings, plus a bias (BERT's code).

    Args:
        width: the size of a hidden state.
        embedding_width: the size of a token embedding.
        vocabulary_size: how many tokens are scored.
        activation: ``gelu``, ``gelu_tanh`` or ``relu``.
        norm_eps: added to the variance by the norm.
        initial_std: standard deviation of the initial weights.
        initial_truncated: whether weights beyond two standard deviations are drawn again.
    """

    def __init__(
        self,
        width: int,
        embedding_width: int,
        vocabulary_size: int,
        activation: str,
        norm_eps: float,
        *,
        initial_std: float = 0.02,
        initial_truncated: bool = False,
    ) -> None:
        super().__init__()
        self.activation = activation
        self.dense = nn.Linear(width, embedding_width)
        self.norm = nn.LayerNorm(embedding_width, eps=norm_eps)
        self.bias = nn.Parameter(torch.zeros(vocabulary_size))
        initialise(self, initial_std, initial_truncated)

    def forward(self, hidden: Tensor, embedding_weight: Tensor) -> Tensor:
        """Score some positions.

        Args:
            hidden: [n, width] hidden states of the positions.
            embedding_weight: [vocabulary, embedding width] the backbone's token table.

        Returns:
            [n, vocabulary] logits.
        """
        features = self.norm(activate(self.activation, self.dense(hidden)))  # [n, embedding width]
        return functional.linear(features, embedding_weight, self.bias)


class Pooler(nn.Module):
    """tanh(dense(h)) of a row's first position, which BERT and ALBERT pretrain with their sentence objectives.

    Args:
        width: the size of a hidden state.
        initial_std: standard deviation of the initial weights.
        initial_truncated: whether weights beyond two standard deviations are drawn again.
    """

    def __init__(self, width: int, *, initial_std: float = 0.02, initial_truncated: bool = False) -> None:
        super().__init__()
        self.dense = nn.Linear(width, width)
        initialise(self, initial_std, initial_truncated)

    def forward(self, hidden: Tensor) -> Tensor:
        """Summarise rows.  # [batch, length, width] -> [batch, width]"""
        return torch.tanh(self.dense(hidden[:, 0]))
