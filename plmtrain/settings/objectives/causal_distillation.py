"""Distillation of a decoder: DistilGPT-2's."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from plmtrain.settings.comparison import ComparisonSettings
from plmtrain.settings.objectives.base import Reads


class CausalDistillationSettings(ComparisonSettings):
    """Sanh et al. 2019, section 2, with causal language modelling, as in the authors' code for GPT-2."""

    reads: ClassVar[Reads] = "blocks"
    backbones: ClassVar[frozenset[str]] = frozenset({"decoder"})

    type: Literal["causal_distillation"] = "causal_distillation"
    clm_weight: float = Field(2.0, ge=0)
    """The weight of the loss of the next tokens."""

    @property
    def texts_in_row(self) -> int:
        return 0

    @model_validator(mode="after")
    def _has_a_loss(self) -> CausalDistillationSettings:
        if not (self.kl_weight or self.clm_weight or self.cosine_weight or self.maps_layers):
            raise ValueError(
                "kl_weight, clm_weight, cosine_weight, hidden_weight and attention_weight are all 0: give one above 0"
            )
        return self
