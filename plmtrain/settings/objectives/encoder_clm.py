"""Causal language modelling with an encoder: XLM's."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from plmtrain.settings.objectives.base import ObjectiveSettings, Reads


class EncoderCLMSettings(ObjectiveSettings):
    """Lample and Conneau 2019, section 3.2."""

    reads: ClassVar[Reads] = "blocks"
    backbones: ClassVar[frozenset[str]] = frozenset({"encoder"})
    sees_left: ClassVar[bool] = True

    type: Literal["encoder_clm"] = "encoder_clm"
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
