"""Vectors of words from their characters: convolutions, a maximum over places, highway layers and a projection.

Kim et al. 2016 (arXiv 1508.06615), Jozefowicz et al. 2016 (arXiv 1602.02410), section 3.3; the details are those of ELMo's code.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

_CARRY_BIAS = -2.0
"""The initial bias of a highway layer's gate: it begins almost closed, so that the layer passes its input on."""


class Highway(nn.Module):
    """g * relu(W x + b) + (1 - g) * x, with the gate g = sigmoid(V x + c) (Srivastava et al. 2015, equation 3).

    Args:
        width: the size of the input and the output.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gate = nn.Linear(width, width)
        self.transform = nn.Linear(width, width)

    def forward(self, hidden: Tensor) -> Tensor:
        """Transform some vectors.  # [words, width] -> [words, width]"""
        return hidden + torch.sigmoid(self.gate(hidden)) * (functional.relu(self.transform(hidden)) - hidden)


class CharacterEncoder(nn.Module):
    """Computes a vector for each word from its characters.

    Args:
        characters: the number of different characters.
        character_width: the size of a character's embedding.
        filters: the width and the number of filters of each convolution.
        activation: ``relu`` or ``tanh``, after the maximum over places.
        highways: the number of highway layers.
        width: the size of a word's vector.
    """

    def __init__(
        self,
        characters: int,
        character_width: int,
        filters: Sequence[tuple[int, int]],
        activation: str,
        highways: int,
        width: int,
    ) -> None:
        super().__init__()
        self.activation = activation
        self.embedding = nn.Embedding(characters, character_width)
        self.convolutions = nn.ModuleList(nn.Conv1d(character_width, count, size) for size, count in filters)
        features = sum(count for _, count in filters)
        self.highways = nn.ModuleList(Highway(features) for _ in range(highways))
        self.projection = nn.Linear(features, width)
        self._initialise()

    @torch.no_grad()
    def _initialise(self) -> None:
        """Draw initial weights from the distributions of the authors' code."""
        nn.init.uniform_(self.embedding.weight, -1.0, 1.0)
        for convolution in self.convolutions:
            assert isinstance(convolution, nn.Conv1d)
            if self.activation == "relu":
                nn.init.uniform_(convolution.weight, -0.05, 0.05)
            else:
                nn.init.normal_(convolution.weight, std=(convolution.kernel_size[0] * convolution.in_channels) ** -0.5)
            assert convolution.bias is not None
            nn.init.zeros_(convolution.bias)
        features = self.projection.in_features
        for highway in self.highways:
            assert isinstance(highway, Highway)
            for layer, bias in ((highway.gate, _CARRY_BIAS), (highway.transform, 0.0)):
                nn.init.normal_(layer.weight, std=features**-0.5)
                nn.init.constant_(layer.bias, bias)
        nn.init.normal_(self.projection.weight, std=features**-0.5)
        nn.init.zeros_(self.projection.bias)

    def forward(self, words: Tensor) -> Tensor:
        """Compute the vectors of some words.

        Args:
            words: [words, characters] the characters of each.

        Returns:
            [words, width].
        """
        letters = self.embedding(words).transpose(1, 2)  # [words, character width, characters]
        # The maximum over all places, those of padding included, as in the authors' code. Its gradient goes to one place, too, as
        # with tf.nn.max_pool: to divide it among those that are alike, as amax does, takes longer.
        features = torch.cat([convolution(letters).max(dim=2).values for convolution in self.convolutions], dim=1)
        features = functional.relu(features) if self.activation == "relu" else torch.tanh(features)
        for highway in self.highways:
            features = highway(features)
        vectors: Tensor = self.projection(features)
        return vectors
