"""DeBERTa: a bidirectional encoder whose attention keeps content and position apart."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from plmtrain.settings.base import MOST_PLACES
from plmtrain.settings.models.base import UniformTransformerSettings


class DisentangledSettings(UniformTransformerSettings):
    """A post-LN encoder with disentangled attention and an enhanced mask decoder (He et al. 2020, section 3)."""

    kind: ClassVar[str] = "disentangled"

    type: Literal["disentangled"] = "disentangled"
    family: str = "deberta"
    norm_eps: float = Field(1e-7, gt=0)
    relative_positions: int = Field(512, gt=0, le=MOST_PLACES)
    """The number of distances to either side that have a row of their own in the table of relative positions (section 3.1);
    longer distances share the last row."""
    content_to_position: bool = True
    """Whether scores have the product of the query's content and the distance."""
    position_to_content: bool = True
    """Whether scores have the product of the distance and the key's content."""
    mask_decoder: bool = True
    """Whether hidden tokens are predicted by the enhanced mask decoder (section 3.2): the last layer applied twice, first to
    states with absolute positions. Fine-tuning does not use it."""

    @property
    def position_terms(self) -> int:
        """The number of terms of a score besides the product of contents."""
        return self.content_to_position + self.position_to_content
