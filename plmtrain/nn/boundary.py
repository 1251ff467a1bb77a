"""The head of SpanBERT's boundary objective."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from plmtrain.nn.activations import activate
from plmtrain.nn.initialisation import initialise


class SpanBoundaryHead(nn.Module):
    """Logits of a token in a span, from the states beside the span and the token's place in it (Joshi et al. 2020, section 3.2).

    Two layers norm(activation(dense(x))) on the concatenation of the two states and an embedding of the place; then the product
    with the token embeddings, plus a bias, as in the authors' code.

    Args:
        width: the size of a hidden state.
        embedding_width: the size of a token embedding.
        vocabulary_size: the number of logits.
        activation: ``gelu``, ``gelu_tanh`` or ``relu``.
        norm_eps: added to the variance by the norms.
        places: the most tokens of a span that are predicted.
        place_width: the size of a place's embedding.
        initial_std: standard deviation of the initial weights.
        initial_truncated: whether weights beyond two standard deviations are redrawn.
    """

    def __init__(
        self,
        width: int,
        embedding_width: int,
        vocabulary_size: int,
        activation: str,
        norm_eps: float,
        *,
        places: int,
        place_width: int,
        initial_std: float = 0.02,
        initial_truncated: bool = False,
    ) -> None:
        super().__init__()
        self.activation = activation
        self.place = nn.Embedding(places, place_width)
        self.first = nn.Linear(2 * width + place_width, width)
        self.first_norm = nn.LayerNorm(width, eps=norm_eps)
        self.second = nn.Linear(width, embedding_width)
        self.second_norm = nn.LayerNorm(embedding_width, eps=norm_eps)
        self.bias = nn.Parameter(torch.zeros(vocabulary_size))
        initialise(self, initial_std, initial_truncated)

    def forward(self, left: Tensor, right: Tensor, places: Tensor, embedding_weight: Tensor) -> Tensor:
        """Compute the logits of some tokens.

        Args:
            left, right: [n, width] the states of the tokens beside each token's span.
            places: [n] its place in the span, counted from 0.
            embedding_weight: [vocabulary, embedding width] the backbone's token table.

        Returns:
            [n, vocabulary] logits.
        """
        features = torch.cat((left, right, self.place(places)), dim=-1)  # [n, 2 * width + place width]
        features = self.first_norm(activate(self.activation, self.first(features)))  # [n, width]
        features = self.second_norm(activate(self.activation, self.second(features)))  # [n, embedding width]
        return functional.linear(features, embedding_weight, self.bias)
