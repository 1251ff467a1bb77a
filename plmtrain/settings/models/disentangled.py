"""DeBERTa in its three versions: a bidirectional encoder whose attention keeps content and position apart."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from plmtrain.settings.base import MOST_PLACES
from plmtrain.settings.models.base import MOST_WIDTH, UniformTransformerSettings


class DisentangledSettings(UniformTransformerSettings):
    """A post-LN encoder with disentangled attention and an enhanced mask decoder (He et al. 2020, section 3); the second version
    (its authors' code) and the third (He et al. 2021) tell distances apart in buckets, and have fewer parameters in attention."""

    kind: ClassVar[str] = "disentangled"

    type: Literal["disentangled"] = "disentangled"
    family: str = "deberta"
    embedding_width: int | None = Field(None, gt=0, le=MOST_WIDTH)
    """The size of a token embedding if it is not the width, with a projection between."""
    norm_eps: float = Field(1e-7, gt=0)
    relative_positions: int = Field(512, gt=0, le=MOST_PLACES)
    """The number of distances to either side that attention tells apart (section 3.1); longer ones count as the longest."""
    relative_buckets: int | None = Field(None, gt=1, le=MOST_PLACES)
    """The number of rows to either side in the table of relative positions, if distances share some: those up to half of it have
    a row each, longer ones share the rest by their logarithm, up to ``relative_positions``; None for a row for each distance."""
    normed_distances: bool = False
    """Whether the table of relative positions goes through a layer norm."""
    content_to_position: bool = True
    """Whether scores have the product of the query's content and the distance."""
    position_to_content: bool = True
    """Whether scores have the product of the distance and the key's content."""
    shared_projections: bool = False
    """Whether distances are projected by the same weights as the content of queries and keys."""
    key_bias: bool = False
    """Whether the projections of keys have biases."""
    convolution: int | None = Field(None, gt=0, le=255)
    """The number of neighbouring tokens that a convolution beside the first layer reads, an odd one; None for no convolution."""
    convolution_activation: Literal["gelu", "gelu_tanh", "relu", "tanh"] = "gelu"
    """The activation of the convolution."""
    mask_decoder: bool = True
    """Whether hidden tokens are predicted by the enhanced mask decoder (section 3.2): the last layer applied twice, first to
    states with absolute positions, which belong to the language-model head."""

    @model_validator(mode="after")
    def _is_a_shape(self) -> DisentangledSettings:
        if self.convolution is not None and self.convolution % 2 == 0:
            raise ValueError(f"convolution ({self.convolution}) must be odd: as many tokens before a token as after it")
        if self.convolution is not None and self.layers == 1 and self.mask_decoder:
            raise ValueError(
                "the mask decoder of a model of one layer would not read its convolution: write layers=2 or more, or "
                "convolution=null"
            )
        if self.relative_buckets is not None and self.relative_positions <= self.relative_buckets // 2 + 1:
            least = self.relative_buckets // 2 + 2
            raise ValueError(
                f"relative_positions ({self.relative_positions}) must be {least} or more: half of relative_buckets have a "
                "distance each, and the other half need some that are longer"
            )
        return self

    @property
    def position_terms(self) -> int:
        """The number of terms of a score besides the product of contents."""
        return self.content_to_position + self.position_to_content

    @property
    def distance_rows(self) -> int:
        """The number of rows to either side in the table of relative positions."""
        return self.relative_buckets or self.relative_positions
