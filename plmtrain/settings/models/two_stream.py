"""XLNet: a Transformer with relative positions and two streams."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from plmtrain.settings.models.base import ModelSettings


class TwoStreamSettings(ModelSettings):
    """A post-LN Transformer-XL with a content and a query stream (Yang et al. 2019, sections 2.3 to 2.5)."""

    kind: ClassVar[str] = "two_stream"

    type: Literal["two_stream"] = "two_stream"
    family: str = "xlnet"
    layers: int = Field(12, gt=0)
    """How often a block is applied."""
    width: int = Field(768, gt=1, multiple_of=2)
    """The size of a hidden state; even, since half of a position is sines and half cosines."""
    heads: int = Field(12, gt=0)
    """Attention heads in a block; they divide the width."""
    feed_forward: int = Field(3072, gt=0)
    """The size of a block's inner layer."""
    positions: int = Field(512, gt=0)
    """The longest sequence, in tokens. No table depends on it: positions are relative, and it can be raised at any time."""
    activation: Literal["gelu", "gelu_tanh", "relu"] = "gelu"
    norm_eps: float = Field(1e-12, gt=0)
    dropout: float = Field(0.1, ge=0, lt=1)
    """Of embeddings, of inner layers, of each sub-layer's output, and of the last hidden state."""
    attention_dropout: float = Field(0.1, ge=0, lt=1)
    """Of attention probabilities."""
    initial_std: float = Field(0.02, gt=0)
    """Standard deviation of the initial weights."""

    @model_validator(mode="after")
    def _heads_divide_width(self) -> TwoStreamSettings:
        if self.width % self.heads:
            raise ValueError(f"heads ({self.heads}) must divide width ({self.width})")
        return self
