"""Transformers with an encoder, a decoder and relative positions: T5."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from plmtrain.settings.base import MOST_PLACES
from plmtrain.settings.models.base import MOST_LAYERS, MOST_WIDTH, TransformerSettings


class RelativeEncoderDecoderSettings(TransformerSettings):
    """A pre-LN encoder and decoder without biases, whose attention scores have a learned number added for each distance (Raffel
    et al. 2020, section 2.1)."""

    kind: ClassVar[str] = "encoder_decoder"

    type: Literal["relative_encoder_decoder"] = "relative_encoder_decoder"
    family: str = "t5"
    layers: int = Field(12, gt=0, le=MOST_LAYERS)
    """The number of blocks of the encoder, and of the decoder unless ``decoder_layers`` says otherwise."""
    decoder_layers: int | None = Field(None, gt=0, le=MOST_LAYERS)
    """The number of blocks of the decoder; None for as many as the encoder has."""
    head_width: int = Field(64, gt=0, le=MOST_WIDTH)
    """The size of a head; the heads together may be wider or narrower than a hidden state."""
    positions: int = Field(512, gt=0, le=MOST_PLACES)
    """The length of the longest sequence, in tokens. No table has this size: positions are relative, and it can be raised at any
    time."""
    relative_buckets: int = Field(32, gt=3, le=1024, multiple_of=4)
    """The number of buckets of distances: half of them for each direction in the encoder, all for the past in the decoder."""
    relative_max_distance: int = Field(128, gt=1, le=MOST_PLACES)
    """From this distance on all are alike."""
    activation: Literal["gelu", "gelu_tanh", "relu"] = "relu"
    gated: bool = False
    """Whether the activated inner layer is multiplied by another linear layer, as in version 1.1 (Shazeer 2020)."""
    tied_output: bool = True
    """Whether the output layer is the token table, whose input is then multiplied by width^-1/2; not so in version 1.1."""
    norm_eps: float = Field(1e-6, gt=0)
    dropout: float = Field(0.1, ge=0, lt=1)
    """Dropout of embeddings, of inner layers, of each sub-layer's output, and of the last hidden states of both stacks."""
    initial_factor: float = Field(1.0, gt=0)
    """The factor of all initial standard deviations, each of which follows from the sizes of its layer."""

    @property
    def decoder_blocks(self) -> int:
        """The number of the decoder's blocks."""
        return self.decoder_layers or self.layers

    @property
    def blocks(self) -> int:
        return self.layers + self.decoder_blocks

    @property
    def last_blocks(self) -> int:
        return self.decoder_blocks
