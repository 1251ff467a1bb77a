"""The module that a program trains: a backbone, and exactly the heads that its loss uses."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence

from torch import Tensor, nn
from torch.nn import functional

from plmtrain.backbones import Backbone
from plmtrain.batch import Inputs
from plmtrain.errors import SettingsError


class Learner(nn.Module):
    """A backbone and heads; subclasses add the heads.

    Args:
        backbone: the part that is kept after pretraining.
    """

    backbone: Backbone

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    @property
    def token_head(self) -> nn.Module | None:
        """The language-model head, or None."""
        return None

    @property
    def pooler_layer(self) -> nn.Linear | None:
        """The pooler's dense layer on the first token, or None; like the backbone, it is kept after pretraining."""
        return None

    def part(self, name: str | None) -> Learner:
        """Return the learner of a mixture's part; the learner itself where no part is named."""
        assert name is None, "only a mixture has parts"
        return self

    @property
    def is_common(self) -> bool:
        """Whether every step trains every parameter."""
        return True

    def models(self) -> Mapping[str, Sequence[nn.Module]]:
        """Return the models that the learner contains, as they are exported: each one's backbone and its heads.

        The first one is the default. By default, the learner is one model with all its heads.
        """
        own = [child for child in self.children() if child is not self.backbone]
        head = self.token_head
        shared = [head] if head is not None and all(head is not child for child in own) else []
        return {"model": [self.backbone, *shared, *own]}

    def token_scores(self, inputs: Inputs) -> Tensor:
        """Return the language-model head's logits at every position, [batch, length, vocabulary].

        Raises:
            SettingsError: if there is no language-model head.
        """
        raise SettingsError(
            "there is no language-model head",
            f"{type(self).__name__} has no scores over the vocabulary",
            "load a run of a language-model objective",
        )


class Scorer(Learner):
    """A learner whose logits over the vocabulary are a product with a table, so that a loss need not hold those of all states."""

    @abstractmethod
    def factors(self, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the factors of the logits of some states: features, table and bias, of ``features @ table.T + bias``.

        Args:
            hidden: [n, width].

        Returns:
            [n, features], [vocabulary, features] and [vocabulary].
        """


def switch_dropout(learner: Learner, on: bool) -> None:
    """Switch the dropout of a learner in train mode: its modules drop only where they are in that mode themselves.

    Args:
        learner: itself, and the learners of its parts, stay in train mode.
        on: whether there is dropout.
    """
    for module in learner.modules():
        if not isinstance(module, Learner):
            module.training = on


class TiedLearner(Scorer):
    """A backbone that writes text with an output layer of its own, mostly the token embeddings."""

    def factors(self, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        table = self.backbone.output_weight
        return hidden, table, table.new_zeros(len(table))

    def token_scores(self, inputs: Inputs) -> Tensor:
        """Return the logits of the next token at each position that is written."""
        return functional.linear(self.backbone.hidden(inputs), self.backbone.output_weight)
