"""Masked language modelling on spans, and prediction of a span's tokens from its boundaries: SpanBERT's."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from plmtrain.settings.objectives.base import ObjectiveSettings, Reads
from plmtrain.settings.spans import SpanSettings


class SpanBERTSettings(SpanSettings, ObjectiveSettings):
    """Joshi et al. 2020, sections 3.1 (spans) and 3.2 (boundaries)."""

    reads: ClassVar[Reads] = "blocks"
    backbones: ClassVar[frozenset[str]] = frozenset({"encoder"})
    roles: ClassVar[frozenset[str]] = frozenset({"mask"})
    decides_parameters: ClassVar[frozenset[str]] = frozenset({"boundary_targets", "position_width"})

    type: Literal["spanbert"] = "spanbert"
    boundary_targets: int = Field(15, gt=0, le=1024)
    """How many tokens of a span, its first ones, are predicted from its boundaries; spans that touch are merged."""
    position_width: int = Field(200, gt=0, le=2**16)
    """The size of the embedding of a token's place in its span."""
    boundary_weight: float = Field(1.0, gt=0)
    """The weight of that prediction's loss."""
