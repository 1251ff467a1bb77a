"""XLNet: a Transformer with relative positions and two streams."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from plmtrain.settings.base import MOST_PLACES
from plmtrain.settings.models.base import MOST_WIDTH, UniformTransformerSettings


class TwoStreamSettings(UniformTransformerSettings):
    """A post-LN Transformer-XL with a content and a query stream (Yang et al. 2019, sections 2.3 to 2.5)."""

    kind: ClassVar[str] = "two_stream"

    type: Literal["two_stream"] = "two_stream"
    family: str = "xlnet"
    width: int = Field(768, gt=1, le=MOST_WIDTH, multiple_of=2)
    """The size of a hidden state; even, since half of a position's values are sines and half cosines."""
    positions: int = Field(512, gt=0, le=MOST_PLACES)
    """The length of the longest sequence, in tokens. No table has this size: positions are relative, and it can be raised at any
    time."""
    dropout: float = Field(0.1, ge=0, lt=1)
    """Dropout of embeddings, of inner layers, of each sub-layer's output, and of the last hidden state."""

    @property
    def tells_segments(self) -> bool:
        """True: attention compares segments, without a table of them."""
        return True
