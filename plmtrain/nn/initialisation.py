"""Initial weights: Devlin et al. 2019's code draws them from a narrow normal distribution; biases are zero, norms one."""

from __future__ import annotations

from torch import nn


def initialise(module: nn.Module, std: float, truncated: bool) -> None:
    """Draw all weights of a module and its submodules anew, from torch's global generator.

    Args:
        module: linear layers and embeddings get normal weights, layer norms become the identity; biases are zero.
        std: the standard deviation of the weights.
        truncated: whether weights beyond two standard deviations are redrawn, as in BERT's TensorFlow code.
    """
    for part in module.modules():
        if isinstance(part, (nn.Linear, nn.Embedding)):
            if truncated:
                nn.init.trunc_normal_(part.weight, std=std, a=-2 * std, b=2 * std)
            else:
                nn.init.normal_(part.weight, std=std)
        elif isinstance(part, nn.LayerNorm):
            nn.init.ones_(part.weight)
        bias = getattr(part, "bias", None)
        if isinstance(bias, nn.Parameter):
            nn.init.zeros_(bias)
