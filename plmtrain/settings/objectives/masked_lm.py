"""Masked language modelling: BERT's, RoBERTa's, and whole words."""

from __future__ import annotations

from typing import ClassVar, Literal

from plmtrain.settings.masking import MaskingSettings
from plmtrain.settings.objectives.base import ObjectiveSettings, Reads


class MaskedLMSettings(MaskingSettings, ObjectiveSettings):
    """Devlin et al. 2019, section 3.1 (Task 1); Liu et al. 2019, section 4.1 (dynamic masking)."""

    reads: ClassVar[Reads] = "blocks"
    backbones: ClassVar[frozenset[str]] = frozenset({"encoder"})
    roles: ClassVar[frozenset[str]] = frozenset({"mask"})

    type: Literal["masked_lm"] = "masked_lm"
