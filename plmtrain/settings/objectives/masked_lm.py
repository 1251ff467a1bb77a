"""Masked language modelling: BERT's, RoBERTa's, whole words, and spans of a few words."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from plmtrain.settings.masking import MaskingSettings
from plmtrain.settings.objectives.base import ObjectiveSettings, Reads


class MaskedLMSettings(MaskingSettings, ObjectiveSettings):
    """Devlin et al. 2019, section 3.1 (Task 1); Liu et al. 2019, section 4.1 (dynamic masking)."""

    reads: ClassVar[Reads] = "blocks"
    backbones: ClassVar[frozenset[str]] = frozenset({"encoder", "disentangled"})
    roles: ClassVar[frozenset[str]] = frozenset({"mask"})

    type: Literal["masked_lm"] = "masked_lm"
    max_ngram: int = Field(1, gt=0, le=1024)
    """The longest span of words that is predicted together, where the probability of n words is proportional to 1 / n (He et al.
    2020, appendix A.2); of tokens without ``whole_words``."""
