"""Lower learning rates for lower layers in fine-tuning (Howard and Ruder 2018, section 3.2; Clark et al. 2020, appendix B)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import nn

from plmtrain.backbones import Backbone
from plmtrain.settings.optimizer import OptimizerSettings


def rate_shares(learner: nn.Module, settings: OptimizerSettings) -> dict[nn.Parameter, float]:
    """Return the learning rate of each trained parameter of the backbones in a learner, as a share of that of its heads.

    A layer with n layers of its stack above it has ``layer_decay ** (head_depth + n)``, and the embeddings are below the first
    layer. An encoder and a decoder are two stacks, each counted from its own top, since every layer of the decoder reads the
    encoder's last states; the embeddings are below the taller one. Layers that share their weights are one layer. What comes
    after the last layer, such as a final norm, belongs to it. A tied output layer has the rate of the embeddings.

    Returns:
        The shares by parameter; none where all rates are equal.
    """
    if settings.layer_decay == 1:
        return {}
    return {
        parameter: settings.layer_decay ** (settings.head_depth + above)
        for backbone in learner.modules()
        if isinstance(backbone, Backbone)
        for parameter, above in _layers_above(backbone).items()
        if parameter.requires_grad
    }


def _layers_above(backbone: Backbone) -> dict[nn.Parameter, int]:
    """Return the number of layers above each parameter."""
    stacks = backbone.stacks()
    above = dict.fromkeys(backbone.parameters(), 0)
    above |= {
        parameter: number for stack in stacks for number, block in enumerate(reversed(stack)) for parameter in block.parameters()
    }
    return above | dict.fromkeys(backbone.embedding_parameters(), max(map(len, stacks)))


def rates_in_words(shares: Mapping[nn.Parameter, float]) -> Iterator[str]:
    """Yield the line that a run prints of its rates; nothing where all are equal."""
    if shares:
        highest, lowest = max(shares.values()), min(shares.values())
        yield f"learning rates: {highest:.3g} of the head's in the last layer, down to {lowest:.3g} in the lowest trained part"
