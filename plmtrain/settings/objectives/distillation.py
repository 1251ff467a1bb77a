"""Distillation of an encoder: DistilBERT's, and TinyBERT's of states and attention."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from plmtrain.settings.comparison import ComparisonSettings
from plmtrain.settings.masking import RandomTokens, RareTokenSettings
from plmtrain.settings.objectives.base import Reads


class DistillationSettings(RareTokenSettings, ComparisonSettings):
    """Sanh et al. 2019, sections 2 and 3, and the authors' code; Jiao et al. 2020, section 3.1."""

    reads: ClassVar[Reads] = "blocks"
    backbones: ClassVar[frozenset[str]] = frozenset({"encoder"})
    roles: ClassVar[frozenset[str]] = frozenset({"mask"})
    decides_parameters: ClassVar[frozenset[str]] = ComparisonSettings.decides_parameters | {"token_head"}

    type: Literal["distillation"] = "distillation"
    random_tokens: RandomTokens = "all"
    frequency_exponent: float = Field(0.7, ge=0, le=1)
    mlm_weight: float = Field(2.0, ge=0)
    """The weight of the loss of the predicted tokens."""
    kl_over: Literal["real", "predicted"] = "real"
    """The tokens whose probabilities are compared: all that are not padding, or the predicted ones."""
    token_head: bool = True
    """Whether the student has a language-model head. Without one it learns states and attention alone (Jiao et al. 2020), and
    ``kl_weight`` and ``mlm_weight`` are 0."""

    @property
    def reads_frequencies(self) -> bool:
        return self.frequency_exponent > 0

    @model_validator(mode="after")
    def _has_a_loss(self) -> DistillationSettings:
        predicting = self.kl_weight or self.mlm_weight
        if predicting and not self.token_head:
            raise ValueError("kl_weight and mlm_weight train a language-model head: with token_head=false both must be 0")
        if not (predicting or self.cosine_weight or self.maps_layers):
            raise ValueError(
                "kl_weight, mlm_weight, cosine_weight, hidden_weight and attention_weight are all 0: give one above 0"
            )
        return self
