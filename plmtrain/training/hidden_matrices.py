"""The matrices within the layers of a learner's backbones: what Muon is for."""

from __future__ import annotations

from torch import nn

from plmtrain.backbones import Backbone


def hidden_matrices(learner: nn.Module) -> frozenset[nn.Parameter]:
    """Return the weights of the linear maps within layers: neither embeddings, nor output layers, nor heads."""
    return frozenset(
        layer.get_parameter("weight")
        for backbone in learner.modules()
        if isinstance(backbone, Backbone)
        for block in backbone.blocks()
        for layer in block.modules()
        if isinstance(layer, nn.Linear)
    )
