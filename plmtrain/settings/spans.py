"""The choice and masking of spans of words, for every objective that masks spans."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from plmtrain.settings.base import Settings


class SpanSettings(Settings):
    """Joshi et al. 2020, sections 3.1 and 4.2."""

    mask_probability: float = Field(0.15, gt=0, lt=1)
    """The share of a row's tokens that are predicted, rounded up; special tokens do not count."""
    stop_probability: float = Field(0.2, gt=0, lt=1)
    """A span's length in words is geometric: after each word it ends with this probability (p in section 3.1)."""
    longest_span: int = Field(10, gt=0, le=1024)
    """The most words of a span; the probabilities up to that length are renormalised."""
    mask_share: float = Field(0.8, ge=0, le=1)
    """The share of spans that masks replace."""
    random_share: float = Field(0.1, ge=0, le=1)
    """The share of spans that random tokens replace; the rest stay as they are."""
    random_tokens: Literal["text", "ordinary"] = "text"
    """Whether a random token is drawn from the text, so that frequent tokens are more likely, or from the vocabulary's ordinary
    tokens."""

    @model_validator(mode="after")
    def _shares(self) -> SpanSettings:
        if self.mask_share + self.random_share > 1:
            raise ValueError(f"mask_share + random_share ({self.mask_share + self.random_share:g}) must not exceed 1")
        return self
