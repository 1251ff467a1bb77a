"""BART's denoising: restore a corrupted row."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from plmtrain.settings.noising import NoisingSettings
from plmtrain.settings.objectives.base import ObjectiveSettings, Reads


class BartSettings(NoisingSettings, ObjectiveSettings):
    """Lewis et al. 2020, section 2.2; by default the noise of section 5.1. In several languages: Liu et al. 2020, section 2.2."""

    reads: ClassVar[Reads] = "blocks"
    backbones: ClassVar[frozenset[str]] = frozenset({"encoder_decoder"})
    roles: ClassVar[frozenset[str]] = frozenset({"cls", "sep", "mask", "pad"})
    reads_sentences: ClassVar[bool] = True

    type: Literal["bart"] = "bart"
    by_language: bool = False
    """Whether each row is text of one language of parallel text, and the model is told which."""
    language_exponent: float = Field(0.7, ge=0, le=1)
    """The share of each language in the rows: its size to this power."""
    translation_share: ClassVar[float] = 0.0
    """No row has a translation."""

    @property
    def source(self) -> Reads:
        return "translations" if self.by_language else "blocks"

    @property
    def tells_languages(self) -> bool:
        return self.by_language
