"""Freezing parts of a learner's backbone: they stay as they are, get no gradient and no moments."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from plmtrain.errors import SettingsError
from plmtrain.programs.learner import Learner
from plmtrain.settings.trainer import EMBEDDINGS, frozen_layers


def freeze(learner: Learner, names: Sequence[str]) -> None:
    """Freeze parts of the backbone; call it before the optimiser is built.

    A frozen embedding table is also the output layer of a head that is tied to it. Dropout stays on.

    Args:
        learner: of the run.
        names: ``trainer.freeze``: ``embeddings``, ``layer.N`` and ``layer.N..M``.

    Raises:
        SettingsError: if nothing is left to train.
    """
    blocks = learner.backbone.blocks()
    for name in names:
        frozen = [blocks[number] for number in frozen_layers(name)]
        of_blocks = [weight for block in frozen for weight in block.parameters()]
        for weight in learner.backbone.embedding_parameters() if name == EMBEDDINGS else of_blocks:
            weight.requires_grad_(False)
    if names and not any(weight.requires_grad for weight in learner.parameters()):
        raise SettingsError(
            "every parameter is frozen: there is nothing to train", f"trainer.freeze=[{','.join(names)}]", "freeze fewer layers"
        )


def parameters_in_words(learner: nn.Module) -> str:
    """Return the number of a learner's parameters, and of those that are trained where some are frozen."""
    every = [(weight.numel(), weight.requires_grad) for weight in learner.parameters()]
    whole, trained = sum(size for size, _ in every), sum(size for size, trains in every if trains)
    return f"{whole:,} parameters" + (f", {trained:,} of them trained" if trained < whole else "")
