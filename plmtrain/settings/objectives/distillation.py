"""Distillation: DistilBERT's."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from plmtrain.settings.masking import RandomTokens, RareTokenSettings
from plmtrain.settings.models.base import MOST_LAYERS, MOST_WIDTH
from plmtrain.settings.objectives.base import ObjectiveSettings, Reads

Layer = Annotated[int, Field(ge=0, lt=MOST_LAYERS)]


class DistillationSettings(RareTokenSettings, ObjectiveSettings):
    """Sanh et al. 2019, sections 2 and 3, and the authors' code."""

    reads: ClassVar[Reads] = "blocks"
    backbones: ClassVar[frozenset[str]] = frozenset({"encoder"})
    roles: ClassVar[frozenset[str]] = frozenset({"mask"})
    decides_parameters: ClassVar[frozenset[str]] = frozenset({"teacher_width"})
    needs_teacher: ClassVar[bool] = True

    type: Literal["distillation"] = "distillation"
    random_tokens: RandomTokens = "all"
    frequency_exponent: float = Field(0.7, ge=0, le=1)
    kl_weight: float = Field(5.0, ge=0)
    """The weight of the divergence between the teacher's probabilities of tokens and the student's."""
    mlm_weight: float = Field(2.0, ge=0)
    """The weight of the loss of the predicted tokens."""
    cosine_weight: float = Field(1.0, ge=0)
    """The weight of one minus the cosine between the last states of the teacher and of the student."""
    temperature: float = Field(2.0, gt=0, le=1000)
    """The divisor of the logits of both before their probabilities are compared; their divergence is multiplied by its square."""
    kl_over: Literal["real", "predicted"] = "real"
    """The tokens whose probabilities are compared: all that are not padding, or the predicted ones."""
    initial_layers: tuple[Layer, ...] | Literal["spaced", "none"] = "spaced"
    """The layers of the teacher that the student's begin as, from below, a number each; ``spaced`` for evenly spaced ones
    including the first and the last, ``none`` for random weights."""
    teacher_width: int | None = Field(None, gt=0, le=MOST_WIDTH)
    """The size of the teacher's hidden states if it is not the student's: these are compared through a projection. The command
    line fills it in."""

    @property
    def reads_frequencies(self) -> bool:
        return self.frequency_exponent > 0

    @model_validator(mode="after")
    def _has_a_loss(self) -> DistillationSettings:
        if not (self.kl_weight or self.mlm_weight or self.cosine_weight):
            raise ValueError("kl_weight, mlm_weight and cosine_weight are all 0: give one above 0")
        if isinstance(self.initial_layers, tuple) and not self.initial_layers:
            raise ValueError("initial_layers names no layer: write none for random weights")
        return self
