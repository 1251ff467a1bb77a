"""The convolution beside the first layer of DeBERTa's second version, which reads neighbouring tokens (their authors call it an
n-gram induced input encoding)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from plmtrain.batch import Layout
from plmtrain.nn.activations import activate
from plmtrain.nn.dropout import dropout


class InputConvolution(nn.Module):
    """norm(layer + activation(drop(convolution(embeddings)))).

    Args:
        width: the size of a hidden state.
        kernel: the number of tokens that are read, an odd number.
        activation: as for ``activate``, or ``tanh``.
        norm_eps: added to the variance by the norm.
        dropout: of the convolution's output.
    """

    def __init__(self, width: int, kernel: int, activation: str, *, norm_eps: float, dropout: float) -> None:
        super().__init__()
        self.activation, self.dropout = activation, dropout
        self.convolution = nn.Conv1d(width, width, kernel, padding=kernel // 2)
        self.norm = nn.LayerNorm(width, eps=norm_eps)

    def forward(self, embedded: Tensor, encoded: Tensor, layout: Layout) -> Tensor:
        """Add what the neighbours say to the output of the first layer.

        Args:
            embedded: [batch, length, width] the input of the first layer.
            encoded: [batch, length, width] its output.
            layout: padding, and the tokens of other documents, are read as zeros.

        Returns:
            [batch, length, width].
        """
        if layout.tokens is not None:
            embedded = embedded.masked_fill(~layout.tokens[..., None], 0.0)
        read = self._read(embedded, layout.documents)
        read = dropout(read, self.dropout, self.training)
        read = torch.tanh(read) if self.activation == "tanh" else activate(self.activation, read)
        output: Tensor = self.norm(encoded + read)
        return output

    def _read(self, embedded: Tensor, documents: Tensor | None) -> Tensor:
        """Return the convolution, as a product for each neighbour: documents may be told apart, and it is deterministic on all
        devices."""
        length, half = embedded.shape[1], self.convolution.kernel_size[0] // 2
        padded = functional.pad(embedded, (0, 0, half, half))
        around = None if documents is None else functional.pad(documents, (half, half), value=-1)
        read = self.convolution.bias
        assert read is not None
        for place in range(2 * half + 1):
            neighbour = padded[:, place : place + length]
            if around is not None and documents is not None and place != half:
                neighbour = neighbour * torch.eq(around[:, place : place + length], documents)[..., None]
            read = read + functional.linear(neighbour, self.convolution.weight[..., place])
        return read
