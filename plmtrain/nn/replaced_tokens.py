"""The head for replaced tokens of DeBERTa's third version."""

from __future__ import annotations

from torch import Tensor, nn

from plmtrain.nn.activations import activate
from plmtrain.nn.initialisation import initialise


class ContextReplacedTokenHead(nn.Module):
    """The logit that a token was replaced: a linear layer on activation(dense(norm(h + c))), where c is the state of the row's
    first token (the authors' code of He et al. 2021).

    Args:
        width: the size of a hidden state.
        activation: ``gelu``, ``gelu_tanh`` or ``relu``.
        norm_eps: added to the variance by the norm.
        initial_std: standard deviation of the initial weights.
        initial_truncated: whether weights beyond two standard deviations are redrawn.
    """

    def __init__(
        self,
        width: int,
        activation: str,
        norm_eps: float,
        *,
        initial_std: float = 0.02,
        initial_truncated: bool = False,
    ) -> None:
        super().__init__()
        self.activation = activation
        self.norm = nn.LayerNorm(width, eps=norm_eps)
        self.dense = nn.Linear(width, width)
        self.score = nn.Linear(width, 1)
        initialise(self, initial_std, initial_truncated)

    def forward(self, hidden: Tensor) -> Tensor:
        """Compute the logit of having been replaced.  # [batch, length, width] -> [batch, length]"""
        states = self.norm(hidden + hidden[:, :1])
        scores: Tensor = self.score(activate(self.activation, self.dense(states)))
        return scores.squeeze(-1)
