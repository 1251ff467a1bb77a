"""Transformers with an encoder, a decoder and absolute positions: BART."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from plmtrain.settings.base import MOST_PLACES
from plmtrain.settings.models.base import MOST_LAYERS, UniformTransformerSettings


class EncoderDecoderSettings(UniformTransformerSettings):
    """A post-LN encoder and a decoder of the same shape (Lewis et al. 2020, section 2.1)."""

    kind: ClassVar[str] = "encoder_decoder"

    type: Literal["encoder_decoder"] = "encoder_decoder"
    family: str = "bart"
    layers: int = Field(6, gt=0, le=MOST_LAYERS)
    """The number of blocks of the encoder, and also of the decoder."""
    positions: int = Field(1024, gt=0, le=MOST_PLACES)
    position_offset: int = Field(2, ge=0, le=MOST_PLACES)
    """The number of unused rows at the start of both position tables: 2 in BART, whose code counts from the padding id."""
    norm_eps: float = Field(1e-5, gt=0)

    @property
    def blocks(self) -> int:
        return 2 * self.layers
