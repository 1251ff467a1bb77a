"""Transformers of an encoder and a decoder with absolute positions: BART."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from plmtrain.settings.models.base import TransformerSettings


class EncoderDecoderSettings(TransformerSettings):
    """Post-LN encoder and decoder of one shape (Lewis et al. 2020, section 2.1)."""

    kind: ClassVar[str] = "encoder_decoder"

    type: Literal["encoder_decoder"] = "encoder_decoder"
    family: str = "bart"
    layers: int = Field(6, gt=0)
    """Blocks of the encoder, and as many of the decoder."""
    positions: int = Field(1024, gt=0)
    position_offset: int = Field(2, ge=0)
    """Unused rows at the head of both position tables: 2 in BART, whose code counts from the padding id."""
    norm_eps: float = Field(1e-5, gt=0)
