"""Transformer decoders: GPT-1, GPT-2 and GPT-3."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from plmtrain.settings.base import MOST_PLACES
from plmtrain.settings.models.base import UniformTransformerSettings


class DecoderSettings(UniformTransformerSettings):
    """A decoder with learned positions, whose output layer is the token table (Radford et al. 2018, section 4.1; 2019, section
    2.3)."""

    kind: ClassVar[str] = "decoder"

    type: Literal["decoder"] = "decoder"
    family: str = "gpt2"
    positions: int = Field(1024, gt=0, le=MOST_PLACES)
    activation: Literal["gelu", "gelu_tanh", "relu"] = "gelu_tanh"
    norm_eps: float = Field(1e-5, gt=0)
    norm: Literal["pre", "post"] = "pre"
    """Whether the norm of a sub-layer is before it, with one more after the last block (GPT-2), or after it (GPT-1)."""
    scaled_residuals: bool = True
    """Whether the initial weights of the layers that end in a residual sum are divided by the root of the number of these sums,
    two a block (Radford et al. 2019, section 2.3)."""
    window: int | None = Field(None, gt=0)
    """The number of positions, itself included, that a position sees in every second block: locally banded attention (Brown et
    al. 2020, section 2.1). None for dense attention in all blocks."""

    @model_validator(mode="after")
    def _has_banded_block(self) -> Self:
        if self.window is not None and self.layers < 2:
            raise ValueError("window is of every second block, and there is one block only")
        return self
