"""Bidirectional Transformer encoders: BERT, RoBERTa, ALBERT, ELECTRA, DistilBERT, XLM and similar models."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from plmtrain.settings.base import MOST_PLACES, Name
from plmtrain.settings.models.base import MOST_WIDTH, UniformTransformerSettings


class EncoderSettings(UniformTransformerSettings):
    """A post-LN encoder with absolute positions (Devlin et al. 2019, section 3)."""

    kind: ClassVar[str] = "encoder"

    type: Literal["encoder"] = "encoder"
    family: str = "bert"
    embedding_width: int | None = Field(None, gt=0, le=MOST_WIDTH)
    """The size of an embedding if it is not the width (ALBERT section 3.1, ELECTRA appendix A), with a projection between."""
    position_offset: int = Field(0, ge=0, le=MOST_PLACES)
    """The number of unused rows at the start of the position table: 2 in RoBERTa, whose code counts from the padding id."""
    segments: int = Field(2, ge=0, le=1024)
    """The number of segment (token type) embeddings; 0 for none."""
    languages: tuple[Name, ...] = ()
    """The languages that have an embedding each, added to the tokens' like a segment's (Lample and Conneau 2019, section 3.4), in
    the order of their numbers; empty for none."""
    head_layer: bool = True
    """Whether the language-model head has a layer and a norm of its own before the token table; XLM's has neither."""
    causal: bool = False
    """Whether a position sees only itself and those to its left (Lample and Conneau 2019, section 3.2)."""
    shared_layers: bool = False
    """Whether every layer is the same block (ALBERT section 3.1)."""
    always_project: bool = False
    """Whether there is a projection after the embeddings even if the widths are equal, as in ALBERT."""
    initial_by_width: bool = False
    """Whether initial weights follow their widths instead, as in XLM's code: embeddings have a standard deviation of width^-1/2,
    and linear layers with their biases are uniform within inputs^-1/2. ``initial_std`` is then that of a task's head alone."""
    initial_glorot: bool = False
    """Whether the layers that ELECTRA's code leaves to TensorFlow are initially uniform within sqrt(6 / (inputs + outputs)): the
    projection after the embeddings, also that of a generator, and the last layer of the head for replaced tokens."""

    @model_validator(mode="after")
    def _one_table(self) -> EncoderSettings:
        if self.languages and self.segments:
            raise ValueError(f"languages take the place of segments: segments must be 0 (is {self.segments})")
        if len(set(self.languages)) < len(self.languages) or len(self.languages) == 1:
            raise ValueError("languages must name two languages or more, each once, or none")
        if self.causal and self.family != "xlm":
            raise ValueError(f"causal is of family xlm, and the family is {self.family}")
        if not self.head_layer and self.embedding_width not in (None, self.width):
            raise ValueError("a head without a layer needs embeddings as wide as hidden states: embedding_width=null")
        return self

    @property
    def tells_segments(self) -> bool:
        return self.segments > 1

    @property
    def segment_rows(self) -> int:
        """The number of rows of the table of segments, or of languages instead."""
        return len(self.languages) or self.segments

    @property
    def blocks(self) -> int:
        return 1 if self.shared_layers else self.layers
