"""ELMo's bidirectional language model (Peters et al. 2018, sections 3.1 and 3.4).

A word's vector comes from its characters alone. An LSTM reads the vectors from left to right, and another from right to left;
they share the vectors and nothing else. Both carry their states from row to row.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from plmtrain.backbones import Backbone
from plmtrain.batch import Inputs
from plmtrain.nn.characters import CharacterEncoder
from plmtrain.nn.dropout import dropout
from plmtrain.nn.projected_lstm import LSTMState, ProjectedLSTM
from plmtrain.settings.models.bilstm import BiLSTMSettings
from plmtrain.text.spelling import CHARACTERS


class BiState(NamedTuple):
    """The states of all layers in both directions at the end of a row, without a gradient."""

    outputs: Tensor
    """[batch, layers, 2, projection]."""
    cells: Tensor
    """[batch, layers, 2, cells]."""


class BiLayer(nn.Module):
    """A layer of each direction.

    Args:
        settings: the shape of the model.
    """

    def __init__(self, settings: BiLSTMSettings) -> None:
        super().__init__()
        shape = (settings.projection, settings.cells, settings.projection, settings.cell_clip, settings.projection_clip)
        self.forwards, self.backwards = ProjectedLSTM(*shape), ProjectedLSTM(*shape)

    def forward(self, left: Tensor, right: Tensor, outputs: Tensor, cells: Tensor) -> tuple[tuple[Tensor, LSTMState], ...]:
        """Read rows in both directions, each in its own order.

        Args:
            left, right: [length, batch, projection] the inputs of the directions.
            outputs: [batch, 2, projection] the outputs before the first step.
            cells: [batch, 2, cells] the memory cells before it.

        Returns:
            For each direction the outputs and the states after each step.
        """
        return self.forwards(left, outputs[:, 0], cells[:, 0]), self.backwards(right, outputs[:, 1], cells[:, 1])


class BiLSTM(Backbone):
    """ELMo without its output layer.

    Args:
        settings: the shape of the model.
        vocabulary_size: the number of words that its language model predicts; no weight of the backbone depends on it.
    """

    settings: BiLSTMSettings

    def __init__(self, settings: BiLSTMSettings, vocabulary_size: int) -> None:
        super().__init__(settings, vocabulary_size)
        self.width, self.embedding_width = settings.width, settings.projection
        self.words = CharacterEncoder(
            CHARACTERS,
            settings.character_width,
            settings.filters,
            settings.activation,
            settings.highways,
            settings.projection,
        )
        self.layers = nn.ModuleList(BiLayer(settings) for _ in range(settings.layers))

    def vectors(self, inputs: Inputs) -> Tensor:
        """Return the vectors of words, which do not depend on the words around them.  # [batch, length, projection]"""
        assert inputs.spellings is not None, "words are read by their characters"
        assert inputs.spelling_rows is not None
        return functional.embedding(inputs.spelling_rows, self.words(inputs.spellings))

    def encode_layers(self, inputs: Inputs) -> list[Tensor]:
        return self.read(inputs, None)[0]

    def read(self, inputs: Inputs, state: BiState | None) -> tuple[list[Tensor], BiState]:
        """Read rows in both directions.

        Args:
            inputs: padding, if there is any, comes after each row.
            state: after the preceding rows; None for zeros.

        Returns:
            The words' vectors, twice side by side, and the output of each layer, left-to-right first, [batch, length, width]
            each; and the state after the last word that each direction read of each row.
        """
        vectors = self.vectors(inputs)
        lengths = None if inputs.layout.tokens is None else inputs.layout.tokens.sum(dim=1)
        layers, state = self.run(vectors, reversed_rows(vectors, lengths), state, lengths)
        both = [torch.cat([left, reversed_rows(right, lengths)], dim=2) for left, right in layers]
        return [torch.cat([vectors, vectors], dim=2), *both], state

    def run(
        self, left: Tensor, right: Tensor, state: BiState | None, lengths: Tensor | None = None
    ) -> tuple[list[tuple[Tensor, Tensor]], BiState]:
        """Run the layers of both directions, each over rows in the order in which it reads them.

        Args:
            left, right: [batch, length, projection] the vectors that each direction reads.
            state: after the preceding rows; None for zeros.
            lengths: [batch] the words in each row, after which padding comes; None if no row has any.

        Returns:
            The outputs of each layer, [batch, length, projection] for each direction, and the state after the last words.
        """
        settings = self.settings
        if state is None:
            shape = (len(left), settings.layers, 2)
            state = BiState(left.new_zeros(*shape, settings.projection), left.new_zeros(*shape, settings.cells))
        left, right = left.transpose(0, 1), right.transpose(0, 1)  # [length, batch, projection]
        layers: list[tuple[Tensor, Tensor]] = []
        ends: list[BiState] = []
        for number, layer in enumerate(self.layers):
            left, right = (dropout(hidden, settings.dropout, self.training) for hidden in (left, right))
            read = layer(left, right, state.outputs[:, number], state.cells[:, number])
            ends.append(BiState(*(torch.stack([_last(of[place], lengths) for _, of in read], dim=1) for place in (0, 1))))
            if settings.residual and number:
                left, right = left + read[0][0], right + read[1][0]
            else:
                left, right = read[0][0], read[1][0]
            layers.append((left.transpose(0, 1), right.transpose(0, 1)))
        return layers, BiState(*(torch.stack(parts, dim=1) for parts in zip(*ends, strict=True)))

    def blocks(self) -> list[nn.Module]:
        return list(self.layers)


def _last(states: Tensor, lengths: Tensor | None) -> Tensor:
    """Return the state after the last word of each row.  # [length, batch, size] -> [batch, size]"""
    if lengths is None:
        return states[-1]
    return states[lengths - 1, torch.arange(states.shape[1], device=states.device)]


def reversed_rows(rows: Tensor, lengths: Tensor | None) -> Tensor:
    """Return rows with their words in the opposite order; padding stays behind them.

    Args:
        rows: [batch, length, ...].
        lengths: [batch] the words in each row; None if no row has padding.
    """
    if lengths is None:
        return rows.flip(1)
    place = torch.arange(rows.shape[1], device=rows.device)
    source = torch.where(place < lengths[:, None], lengths[:, None] - 1 - place, place)  # [batch, length]
    return rows.gather(1, source[..., None].expand_as(rows))


backbone = BiLSTM
