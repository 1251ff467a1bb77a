"""Transformers of an encoder and a decoder with absolute positions: BART."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from plmtrain.settings.models.base import ModelSettings


class EncoderDecoderSettings(ModelSettings):
    """Post-LN encoder and decoder of one shape (Lewis et al. 2020, section 2.1)."""

    kind: ClassVar[str] = "encoder_decoder"

    type: Literal["encoder_decoder"] = "encoder_decoder"
    family: str = "bart"
    layers: int = Field(6, gt=0)
    """Blocks of the encoder, and as many of the decoder."""
    width: int = Field(768, gt=0)
    """The size of a hidden state."""
    heads: int = Field(12, gt=0)
    """Attention heads in a block; they divide the width."""
    feed_forward: int = Field(3072, gt=0)
    """The size of a block's inner layer."""
    positions: int = Field(1024, gt=0)
    position_offset: int = Field(2, ge=0)
    """Unused rows at the head of both position tables: 2 in BART, whose code counts from the padding id."""
    activation: Literal["gelu", "gelu_tanh", "relu"] = "gelu"
    norm_eps: float = Field(1e-5, gt=0)
    dropout: float = Field(0.1, ge=0, lt=1)
    """Of embeddings and of each sub-layer's output."""
    attention_dropout: float = Field(0.1, ge=0, lt=1)
    """Of attention probabilities."""
    initial_std: float = Field(0.02, gt=0)
    """Standard deviation of the initial weights."""
    initial_truncated: bool = False
    """Whether initial weights beyond two standard deviations are drawn again."""

    @model_validator(mode="after")
    def _heads_divide_width(self) -> EncoderDecoderSettings:
        if self.width % self.heads:
            raise ValueError(f"heads ({self.heads}) must divide width ({self.width})")
        return self
