"""The settings that all models have in common."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from plmtrain.families import MODEL_FAMILIES, ModelFamily, model_families
from plmtrain.settings.base import MOST_PLACES, Name, Settings

MOST_LAYERS = 4096
MOST_WIDTH = 2**16
"""Several times the deepest and the widest published Transformers: 1,000 layers, and 12,288 in GPT-3."""


class ModelSettings(Settings):
    """The shape of a model."""

    kind: ClassVar[str]
    """The kind of backbone, which decides the objectives that can train it: ``encoder``, ``decoder``, ``encoder_decoder``,
    ``two_stream``, ``disentangled`` or ``bilstm``."""
    reads_characters: ClassVar[bool] = False
    """Whether it reads the characters of words instead of token ids."""

    type: str
    """The module of ``plmtrain.backbones`` that builds it."""
    name: Name
    """The name for users: that of its YAML."""
    family: str
    """The published system that it follows, a row of ``plmtrain.families``. It decides the special tokens, and the names of the
    tensors in a Hugging Face folder."""
    positions: int = Field(gt=0, le=MOST_PLACES)
    """The length of the longest possible sequence, in tokens."""

    @classmethod
    def names_of(cls, field: str) -> list[str]:
        return model_families(cls.kind) if field == "family" else []

    @property
    def published(self) -> ModelFamily:
        """The facts about its family."""
        return MODEL_FAMILIES[self.family]

    @property
    def tells_segments(self) -> bool:
        """Whether the model distinguishes the segments of a pair."""
        return False


class TransformerSettings(ModelSettings):
    """The shape of a Transformer: blocks of attention and a feed-forward layer (Vaswani et al. 2017, section 3)."""

    layers: int = Field(12, gt=0, le=MOST_LAYERS)
    """The number of blocks that are applied."""
    width: int = Field(768, gt=0, le=MOST_WIDTH)
    """The size of a hidden state."""
    heads: int = Field(12, gt=0, le=MOST_WIDTH)
    """The number of attention heads in a block."""
    feed_forward: int = Field(3072, gt=0, le=16 * MOST_WIDTH)
    """The size of a block's inner layer."""
    positions: int = Field(512, gt=0, le=MOST_PLACES)
    activation: Literal["gelu", "gelu_tanh", "relu"] = "gelu"
    norm_eps: float = Field(1e-12, gt=0)
    dropout: float = Field(0.1, ge=0, lt=1)
    """Dropout of embeddings and of each sub-layer's output."""
    attention_dropout: float = Field(0.1, ge=0, lt=1)
    """Dropout of attention probabilities."""

    @property
    def blocks(self) -> int:
        """The number of blocks that the model has."""
        return self.layers

    @property
    def last_blocks(self) -> int:
        """The number of blocks of the stack whose last states the heads read."""
        return self.blocks


class UniformTransformerSettings(TransformerSettings):
    """A Transformer whose heads together are as wide as its hidden states, and whose initial weights are all drawn alike."""

    initial_std: float = Field(0.02, gt=0)
    """Standard deviation of the initial weights."""
    initial_truncated: bool = False
    """Whether initial weights beyond two standard deviations are drawn again, as in BERT's code."""

    @model_validator(mode="after")
    def _heads_divide_width(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"heads ({self.heads}) must divide width ({self.width})")
        return self
