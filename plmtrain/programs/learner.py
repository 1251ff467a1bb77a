"""The module that a program trains: a backbone, and exactly the heads that its loss uses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from plmtrain.backbones import Backbone
from plmtrain.batch import Inputs
from plmtrain.errors import SettingsError


class Learner(nn.Module):
    """A backbone and heads; subclasses add the heads.

    Args:
        backbone: what outlives pretraining.
    """

    backbone: Backbone

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    @property
    def token_head(self) -> nn.Module | None:
        """The head that scores the vocabulary from the backbone's states, where there is one."""
        return None

    @property
    def pooler_layer(self) -> nn.Linear | None:
        """The dense layer that summarises a row at its first token, where there is one: it outlives pretraining, too."""
        return None

    def models(self) -> Mapping[str, Sequence[nn.Module]]:
        """Return the models that the learner is made of: for each its backbone and the heads on it, as they are exported.

        The first one is meant where none is named. Here the learner is one model with all its heads.
        """
        own = [child for child in self.children() if child is not self.backbone]
        head = self.token_head
        shared = [head] if head is not None and all(head is not child for child in own) else []
        return {"model": [self.backbone, *shared, *own]}

    def token_scores(self, inputs: Inputs) -> Tensor:
        """Return the language-model head's logits at every position, [batch, length, vocabulary].

        Raises:
            SettingsError: if there is no such head.
        """
        raise SettingsError(
            "there is no language-model head here",
            f"{type(self).__name__} has no scores over the vocabulary",
            "load a run of a language-model objective",
        )
