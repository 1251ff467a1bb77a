"""The states of a backbone that the head of a task reads: the last ones, or a trained mix of all layers (Peters et al. 2018,
section 3.2), or of some; a backbone whose layers are mixed stays as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor

from plmtrain.batch import Inputs, Layout, Term, shift_right
from plmtrain.nn.scalar_mix import ScalarMix
from plmtrain.programs.learner import Learner

if TYPE_CHECKING:
    from plmtrain.backbones import Backbone
    from plmtrain.settings.models.base import UniformTransformerSettings
    from plmtrain.settings.models.bilstm import BiLSTMSettings
    from plmtrain.settings.tasks.base import HeadTaskSettings


class FeatureLearner(Learner):
    """A backbone whose states a head reads.

    Args:
        backbone: reads the row.
        mix: mixes the states of layers of a backbone that is not trained; None if the head reads the last states.
    """

    def __init__(self, backbone: Backbone, mix: ScalarMix | None) -> None:
        super().__init__(backbone)
        self.mix = mix

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        if self.mix is not None:
            self.backbone.eval()  # it stays as it is, and its states are the same each time
        return self

    def hidden(self, inputs: Inputs) -> Tensor:
        """Return the states of the rows that the head reads.  # [rows, length, width]"""
        if self.mix is None:
            return self.backbone.hidden(inputs)
        with torch.no_grad():
            layers = self.backbone.encode_layers(inputs)
        mixed: Tensor = self.mix(layers)
        return mixed


def read_again(inputs: Inputs, closing: int) -> Inputs:
    """Return a decoder's inputs with which it reads a row once more: each place where it would write a token, having read all
    before it; the closing token stands in front (Lewis et al. 2020, section 3, and the authors' code).

    Args:
        inputs: of the encoder.
        closing: the id of the token that closes a row.
    """
    return Inputs(ids=shift_right(inputs.ids, closing), layout=Layout(tokens=inputs.layout.tokens, causal=True))


def mix_of(backbone: Backbone, task: HeadTaskSettings, model: UniformTransformerSettings | BiLSTMSettings) -> ScalarMix | None:
    """Return the mix of layers that a task asks for, if it does, and freeze the parameters of the backbone that are not trained.

    Args:
        backbone: of the model.
        task: says what the head reads.
        model: the settings of the model.
    """
    mixes = task.mixes(model.published)
    for parameter in backbone.parameters() if mixes else backbone.unread_by_encode():
        parameter.requires_grad_(False)
    if not mixes:
        return None
    layers = range(model.layers + 1) if task.mix_layers is None else task.mix_layers
    return ScalarMix(layers, normed=task.mix_norm)


def mix_term(learner: FeatureLearner, task: HeadTaskSettings, rows: float) -> Term:
    """Return the penalty of the mix's weights as a term of the loss.

    Args:
        learner: has a mix.
        task: says what the penalty weighs.
        rows: of the batch, over which the penalty is a mean.
    """
    assert learner.mix is not None, "refused by the rules of the settings"
    return Term(total=rows * learner.mix.penalty(), normaliser=rows, weight=task.mix_l2)
