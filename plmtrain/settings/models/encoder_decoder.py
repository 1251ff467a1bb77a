"""Transformers with an encoder, a decoder and absolute positions: BART, MASS."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from plmtrain.settings.base import MOST_PLACES, Name
from plmtrain.settings.models.base import MOST_LAYERS, UniformTransformerSettings


class EncoderDecoderSettings(UniformTransformerSettings):
    """A post-LN encoder and a post-LN decoder of the same widths (Lewis et al. 2020, section 2.1)."""

    kind: ClassVar[str] = "encoder_decoder"

    type: Literal["encoder_decoder"] = "encoder_decoder"
    family: str = "bart"
    layers: int = Field(6, gt=0, le=MOST_LAYERS)
    """The number of blocks of the encoder."""
    decoder_layers: int | None = Field(None, gt=0, le=MOST_LAYERS)
    """The number of blocks of the decoder; that of the encoder if not given."""
    positions: int = Field(1024, gt=0, le=MOST_PLACES)
    position_offset: int = Field(2, ge=0, le=MOST_PLACES)
    """The number of unused rows at the start of both position tables: 2 in BART, whose code counts from the padding id."""
    languages: tuple[Name, ...] = ()
    """The languages in the order of their numbers; empty for none. Each has an embedding in both stacks, added to those of tokens
    and positions (Song et al. 2019, section 4.1, as in XLM), or in family mbart a token (Liu et al. 2020, section 2.1)."""
    norm_eps: float = Field(1e-5, gt=0)
    initial_by_width: bool = False
    """Whether the standard deviation of initial embeddings is width^-1/2 instead, as in the code of XLM and MASS."""

    @model_validator(mode="after")
    def _several_languages(self) -> EncoderDecoderSettings:
        if len(set(self.languages)) < len(self.languages) or len(self.languages) == 1:
            raise ValueError("languages must name two languages or more, each once, or none")
        known = self.published.tokens.languages
        if known and (unknown := [name for name in self.languages if self.published.tokens.language(name) is None]):
            raise ValueError(f"family {self.family} has no token for language {unknown[0]}: it has {', '.join(known)}")
        return self

    @property
    def language_rows(self) -> int:
        """The number of rows of the tables of languages; 0 if they are told by tokens, or not at all."""
        return 0 if self.published.tokens.languages else len(self.languages)

    @property
    def written_layers(self) -> int:
        """The number of blocks of the decoder."""
        return self.decoder_layers or self.layers

    @property
    def blocks(self) -> int:
        return self.layers + self.written_layers

    @property
    def last_blocks(self) -> int:
        return self.written_layers
