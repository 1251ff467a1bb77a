"""The comparison of a student with its teacher, for every objective of distillation."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from plmtrain.settings.models.base import MOST_LAYERS, MOST_WIDTH
from plmtrain.settings.objectives.base import ObjectiveSettings

Layer = Annotated[int, Field(ge=0, lt=MOST_LAYERS)]


class ComparisonSettings(ObjectiveSettings):
    """Sanh et al. 2019, sections 2 and 3; Jiao et al. 2020, section 3.1."""

    decides_parameters: ClassVar[frozenset[str]] = frozenset({"teacher_width"})
    needs_teacher: ClassVar[bool] = True

    kl_weight: float = Field(5.0, ge=0)
    """The weight of the divergence between the teacher's probabilities of tokens and the student's."""
    cosine_weight: float = Field(1.0, ge=0)
    """The weight of one minus the cosine between the last states of the teacher and of the student."""
    hidden_weight: float = Field(0.0, ge=0)
    """The weight of the mean squared difference between the embeddings and states of the student's layers and of those of the
    teacher's that ``taught_layers`` names."""
    attention_weight: float = Field(0.0, ge=0)
    """The weight of the mean squared difference between the attention scores of these layers, before their softmax."""
    temperature: float = Field(2.0, gt=0, le=1000)
    """The divisor of the logits of both before their probabilities are compared; their divergence is multiplied by its square."""
    taught_layers: tuple[Layer, ...] | Literal["uniform"] = "uniform"
    """The layers of the teacher that hidden states and attention are compared with, from below, one for each layer of the
    student; ``uniform``: each is the last of an equal share of the teacher's layers."""
    initial_layers: tuple[Layer, ...] | Literal["spaced", "none"] = "spaced"
    """The layers of the teacher that the student's begin as, from below, a number each; ``spaced`` for evenly spaced ones
    including the first and the last, ``none`` for random weights."""
    teacher_width: int | None = Field(None, gt=0, le=MOST_WIDTH)
    """The size of the teacher's hidden states if it is not the student's: these are compared through a projection. The command
    line fills it in."""

    @property
    def maps_layers(self) -> bool:
        """Whether layers of the student are compared with layers of the teacher."""
        return bool(self.hidden_weight or self.attention_weight)

    @property
    def compares_last_states(self) -> bool:
        """Whether there is a loss of the last states; without any other loss of states it stays where its weight is 0."""
        return bool(self.cosine_weight or not self.hidden_weight)

    @model_validator(mode="after")
    def _names_layers(self) -> ComparisonSettings:
        if self.initial_layers == ():
            raise ValueError("initial_layers names no layer: write none for random weights")
        if self.taught_layers == ():
            raise ValueError("taught_layers names no layer: write uniform, or one for each layer of the student")
        return self
