"""The corruption of text, for every objective that restores whole rows."""

from __future__ import annotations

from pydantic import Field, model_validator

from plmtrain.settings.base import Settings


class NoisingSettings(Settings):
    """Lewis et al. 2020, section 2.2: five noises, alone or together, and the reference code's free insertion of masks.

    They are applied in the order of the fields below, as in the authors' code. A token that one noise removed is not
    available to the next.
    """

    permute: float = Field(1.0, ge=0, le=1)
    """The share of each document's sentences that are permuted among themselves (sentence permutation)."""
    infill: float = Field(0.3, ge=0, le=1)
    """The share of a row's words that are cut out in spans, each replaced by one mask (text infilling)."""
    span_mean: float = Field(3.0, ge=0.5, le=32)
    """The mean of the Poisson distribution of span lengths, in words (lambda); a span of no words inserts a mask."""
    mask: float = Field(0.0, ge=0, le=1)
    """The share of a row's tokens that are replaced by a mask each (token masking)."""
    delete: float = Field(0.0, ge=0, le=1)
    """The share of a row's tokens that are deleted (token deletion)."""
    insert: float = Field(0.0, ge=0, le=1)
    """The number of inserted masks, as a share of the row's tokens."""
    rotate: float = Field(0.0, ge=0, le=1)
    """The probability that a document is rotated to begin with a random one of its tokens (document rotation)."""
    random_share: float = Field(0.0, ge=0, le=1)
    """The share of masks that are replaced by a random ordinary token."""

    @model_validator(mode="after")
    def _corrupts(self) -> NoisingSettings:
        noises = ("permute", "infill", "mask", "delete", "insert", "rotate")
        if not any(getattr(self, noise) for noise in noises):
            raise ValueError(f"nothing is corrupted: one of {', '.join(noises)} must be above 0")
        return self
