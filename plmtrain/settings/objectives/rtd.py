"""Replaced token detection: ELECTRA, and DeBERTa's third version."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from plmtrain.settings.masking import MaskingSettings
from plmtrain.settings.objectives.base import ObjectiveSettings, Reads
from plmtrain.settings.pairs import SegmentSettings


class RTDSettings(MaskingSettings, ObjectiveSettings):
    """Clark et al. 2020, section 2; the shape of the generator, section 3.2 and appendix A; He et al. 2021, section 3."""

    reads: ClassVar[Reads] = "blocks"
    backbones: ClassVar[frozenset[str]] = frozenset({"encoder", "disentangled"})
    roles: ClassVar[frozenset[str]] = frozenset({"mask"})
    decides_parameters: ClassVar[frozenset[str]] = frozenset(
        {"generator_width", "generator_layers", "generator_head_width", "generator_feed_forward", "share_embeddings"}
    )

    type: Literal["rtd"] = "rtd"
    mask_share: float = Field(0.85, ge=0, le=1)
    random_share: float = Field(0.0, ge=0, le=1)
    with_replacement: bool = False
    """Whether predicted tokens are drawn with replacement, as in ELECTRA's code: a token that is drawn again is predicted once,
    so that fewer tokens than the budget are predicted, and more of them are masked, since each draw decides."""
    segments: SegmentSettings | None = None
    """The cutting of documents into rows of one or two segments, as in ELECTRA's code; None for blocks of consecutive text."""
    generator_width: float = Field(0.25, gt=0, le=16)
    """The generator's hidden size as a share of the discriminator's: 1/4 in ELECTRA small and large, 1/3 in base."""
    generator_layers: float = Field(1.0, gt=0, le=16)
    """The generator's layers as a share of the discriminator's."""
    generator_head_width: int = Field(64, gt=0, le=2**16)
    """The size of the generator's attention heads; it has at least one."""
    generator_feed_forward: float = Field(4.0, gt=0, le=64)
    """The generator's inner layer as a multiple of its hidden size."""
    share_embeddings: Literal["none", "full", "gradient_disentangled"] = "full"
    """The embeddings that generator and discriminator have in common: ``none``, so that the generator's are of its own hidden
    size; the tables, trained by both (``full``, ELECTRA); or the generator's table of tokens, which the discriminator reads
    without a gradient and adds an own table to (``gradient_disentangled``, He et al. 2021, section 3.3). ``true`` is ``full``,
    ``false`` ``none``."""
    temperature: float = Field(1.0, gt=0)
    """The divisor of the generator's logits before a token is drawn."""
    generator_weight: float = Field(1.0, gt=0)
    """The weight of the generator's loss."""
    discriminator_weight: float = Field(50.0, gt=0)
    """The weight of the discriminator's loss."""

    @property
    def source(self) -> Reads:
        return "blocks" if self.segments is None else "segment_pairs"

    @property
    def pairs(self) -> SegmentSettings | None:
        return self.segments

    @field_validator("share_embeddings", mode="before")
    @classmethod
    def _was_a_truth(cls, value: Any) -> Any:
        """Accept what runs of earlier versions recorded."""
        return {True: "full", False: "none"}[value] if isinstance(value, bool) else value

    @model_validator(mode="after")
    def _draws_single_tokens(self) -> RTDSettings:
        if self.with_replacement and self.whole_words:
            raise ValueError("with_replacement draws single tokens: omit it, or write whole_words=false")
        return self
