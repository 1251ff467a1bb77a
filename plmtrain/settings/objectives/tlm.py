"""Translation language modelling: XLM's."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from plmtrain.settings.masking import RandomTokens, RareTokenSettings
from plmtrain.settings.objectives.base import ObjectiveSettings, Reads


class TranslationLMSettings(RareTokenSettings, ObjectiveSettings):
    """Lample and Conneau 2019, sections 3.3 to 3.5."""

    reads: ClassVar[Reads] = "translations"
    backbones: ClassVar[frozenset[str]] = frozenset({"encoder"})
    roles: ClassVar[frozenset[str]] = frozenset({"cls", "sep", "mask", "pad"})

    type: Literal["tlm"] = "tlm"
    random_tokens: RandomTokens = "all"
    translation_share: float = Field(0.5, ge=0, le=1)
    """The share of rows that are a sentence and its translation; the others are text of one language (section 3.5)."""
    language_exponent: float = Field(0.7, ge=0, le=1)
    """The share of each language, or pair of languages, in the rows: its size to this power (section 3.1)."""

    @property
    def tells_languages(self) -> bool:
        return True
