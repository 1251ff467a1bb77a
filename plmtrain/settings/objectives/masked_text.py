"""T5's BERT-style and MASS-style objectives: write a whole text of which some tokens are masked."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from plmtrain.settings.objectives.base import ObjectiveSettings, Reads


class MaskedTextSettings(ObjectiveSettings):
    """Raffel et al. 2020, sections 3.3.1 and 3.3.2: an encoder reads the text with masks, the decoder writes all of it."""

    reads: ClassVar[Reads] = "blocks"
    backbones: ClassVar[frozenset[str]] = frozenset({"encoder_decoder"})
    roles: ClassVar[frozenset[str]] = frozenset({"sentinel"})

    type: Literal["masked_text"] = "masked_text"
    corruption_rate: float = Field(0.15, gt=0, lt=1)
    """The probability that a token is replaced. The first sentinel is the mask."""
    random_share: float = Field(0.1, ge=0, le=1)
    """The share of replaced tokens that become a random ordinary token instead of the mask."""
