"""The choice and masking of tokens, for every objective that masks."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from plmtrain.settings.base import Settings

RandomTokens = Literal["all", "ordinary", "ordinary_and_mask"]


class ReplacingSettings(Settings):
    """The replacement of predicted tokens (Devlin et al. 2019, section 3.1, Task 1)."""

    mask_share: float = Field(0.8, ge=0, le=1)
    """The share of predicted tokens that the mask replaces."""
    random_share: float = Field(0.1, ge=0, le=1)
    """The share of predicted tokens that a random token replaces; the rest stay as they are."""
    random_tokens: RandomTokens = "ordinary"
    """Whether the random token is drawn from the whole vocabulary, special tokens included (BERT), from the ordinary tokens, or
    from these and the mask (RoBERTa's code)."""

    @model_validator(mode="after")
    def _shares(self) -> ReplacingSettings:
        if self.mask_share + self.random_share > 1:
            raise ValueError(f"mask_share + random_share ({self.mask_share + self.random_share:g}) must not exceed 1")
        return self


class HidingSettings(ReplacingSettings):
    """A share of tokens that are predicted, and their replacement."""

    mask_probability: float = Field(0.15, gt=0, lt=1)
    """The share of a row's tokens that are predicted."""


class RareTokenSettings(HidingSettings):
    """A share of tokens that are predicted, rare ones rather than frequent ones."""

    frequency_exponent: float = Field(0.5, ge=0, le=1)
    """The preference for rare tokens: each is predicted in proportion to its frequency to minus this power. With 0 each token is
    predicted with the same probability, independently."""


class MaskingSettings(HidingSettings):
    """Devlin et al. 2019, section 3.1 (Task 1); Liu et al. 2019, section 4.1 (dynamic masking)."""

    budget: Literal["round", "stochastic"] = "round"
    """How the share becomes a number: BERT rounds it, with a minimum of one; RoBERTa adds a uniform number and rounds down."""
    candidates: Literal["ordinary", "all"] = "ordinary"
    """Which tokens of a row may be predicted: those that are not special, or all of them (RoBERTa's code)."""
    budget_counts: Literal["candidates", "row"] = "row"
    """The whole of which the share is taken: the tokens that may be predicted, or all tokens of the row (BERT's and RoBERTa's
    code)."""
    max_predictions: int | None = Field(None, gt=0)
    """The most predictions in a row (BERT: 20 at length 128); None for no limit."""
    whole_words: bool = False
    """Whether all pieces of a word are predicted together, each replaced by its own draw (BERT's whole-word masking)."""
    copies: int | None = Field(None, gt=0)
    """Static masking: the number of masked copies of the text (BERT: 10); epoch e sees copy e modulo copies. None for new
    masks in every epoch."""
