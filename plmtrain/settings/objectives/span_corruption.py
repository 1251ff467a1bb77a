"""T5's objective: write the spans that were cut out of a text."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from plmtrain.settings.objectives.base import ObjectiveSettings, Reads


class SpanCorruptionSettings(ObjectiveSettings):
    """Raffel et al. 2020, sections 3.1.4 and 3.3.2 to 3.3.4: an encoder reads what is kept, the decoder writes what was cut
    out."""

    reads: ClassVar[Reads] = "blocks"
    backbones: ClassVar[frozenset[str]] = frozenset({"encoder_decoder"})
    roles: ClassVar[frozenset[str]] = frozenset({"sentinel"})

    type: Literal["span_corruption"] = "span_corruption"
    corruption_rate: float = Field(0.15, gt=0, le=0.5)
    """The share of a row's tokens that is cut out."""
    mean_span_length: float | None = Field(3.0, ge=1, le=32)
    """The mean length of a span, in tokens, which all rows have; None for tokens that are cut out one by one (section 3.1.4)."""
    sentinels: bool = True
    """Whether a sentinel stands for each span, in what is kept and before what was cut out; otherwise nothing does."""
    closing_sentinel: bool = False
    """Whether one more sentinel ends what was cut out, as in the paper's figure 2; not so in the authors' code."""

    @model_validator(mode="after")
    def _closes_spans(self) -> SpanCorruptionSettings:
        if self.closing_sentinel and not self.sentinels:
            raise ValueError("closing_sentinel has no meaning without sentinels")
        return self
