"""Masked sequence to sequence: MASS's fragments."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from plmtrain.settings.masking import RandomTokens, ReplacingSettings
from plmtrain.settings.objectives.base import ObjectiveSettings, Reads


class MassSettings(ReplacingSettings, ObjectiveSettings):
    """Song et al. 2019, section 3.2."""

    reads: ClassVar[Reads] = "blocks"
    backbones: ClassVar[frozenset[str]] = frozenset({"encoder_decoder"})
    roles: ClassVar[frozenset[str]] = frozenset({"cls", "sep", "mask", "pad"})
    isolates: ClassVar[bool] = False

    type: Literal["mass"] = "mass"
    random_tokens: RandomTokens = "all"
    fragment_share: float = Field(0.5, gt=0, le=1)
    """The share of a row's tokens that the fragment has; the token that opens the row is never in it."""
    first_share: float = Field(0.2, ge=0, le=1)
    """The probability that the fragment begins at the first place where it can."""
    last_share: float = Field(0.2, ge=0, le=1)
    """The probability that it ends with the row; else it begins at a random place between."""
    attends_to_masks: bool = False
    """Whether the decoder may attend to the places where the encoder reads a mask."""
    decoder_positions: Literal["read", "predicted"] = "read"
    """The position of a token that the decoder reads: its own, or that of the token that it predicts."""
    by_language: bool = False
    """Whether each row is text of one language of parallel text, and the model is told which."""
    language_exponent: float = Field(0.7, ge=0, le=1)
    """The share of each language in the rows: its size to this power."""
    translation_share: ClassVar[float] = 0.0
    """No row has a translation."""

    @model_validator(mode="after")
    def _places(self) -> MassSettings:
        if self.first_share + self.last_share > 1:
            raise ValueError(f"first_share + last_share ({self.first_share + self.last_share:g}) must not exceed 1")
        return self

    @property
    def source(self) -> Reads:
        return "translations" if self.by_language else "blocks"

    @property
    def tells_languages(self) -> bool:
        return self.by_language
