"""How text is corrupted, for every objective that restores whole rows."""

from __future__ import annotations

from pydantic import Field, model_validator

from plmtrain.settings.base import Settings


class NoisingSettings(Settings):
    """Lewis et al. 2020, section 2.2: five noises, alone or together, and the reference code's free insertion of masks.

    They act in the order of the fields below, as in the authors' code. What one noise took, the next does not find.
    """

    permute: float = Field(1.0, ge=0, le=1)
    """The share of each document's sentences that change places among themselves (sentence permutation)."""
    infill: float = Field(0.3, ge=0, le=1)
    """The share of a row's words that are cut out in spans, each span behind one mask (text infilling)."""
    span_mean: float = Field(3.0, ge=0.5, le=32)
    """The mean of the Poisson distribution of span lengths, in words (lambda); a span of no words inserts a mask."""
    mask: float = Field(0.0, ge=0, le=1)
    """The share of a row's tokens that a mask each replaces (token masking)."""
    delete: float = Field(0.0, ge=0, le=1)
    """The share of a row's tokens that are left out (token deletion)."""
    insert: float = Field(0.0, ge=0, le=1)
    """As many masks as this share of the row's tokens are put in between."""
    rotate: float = Field(0.0, ge=0, le=1)
    """How likely each document is to begin with any of its tokens, what stood before it going to the end (document rotation)."""
    random_share: float = Field(0.0, ge=0, le=1)
    """The share of masks in whose place a random ordinary token stands."""

    @model_validator(mode="after")
    def _corrupts(self) -> NoisingSettings:
        noises = ("permute", "infill", "mask", "delete", "insert", "rotate")
        if not any(getattr(self, noise) for noise in noises):
            raise ValueError(f"nothing is corrupted: one of {', '.join(noises)} must be above 0")
        return self
