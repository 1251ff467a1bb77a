"""ELMo's bidirectional language model: characters of words, and an LSTM for each direction."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from plmtrain.settings.base import MOST_PLACES
from plmtrain.settings.models.base import MOST_LAYERS, MOST_WIDTH, ModelSettings

_Size = Annotated[int, Field(gt=0, le=MOST_WIDTH)]
MOST_CHARACTERS = 50
"""The places for the characters of a word, the marks of its beginning and end included (the authors' code)."""


class BiLSTMSettings(ModelSettings):
    """A character CNN below two LSTMs that read in opposite directions (Peters et al. 2018, sections 3.1 and 3.4; Jozefowicz et
    al. 2016, sections 3.3 and 5.3)."""

    kind: ClassVar[str] = "bilstm"
    reads_characters: ClassVar[bool] = True

    type: Literal["bilstm"] = "bilstm"
    family: str = "elmo"
    layers: int = Field(2, gt=0, le=MOST_LAYERS)
    """The number of LSTM layers in each direction."""
    cells: int = Field(4096, gt=0, le=MOST_WIDTH)
    """The number of memory cells of a layer in one direction."""
    projection: int = Field(512, gt=0, le=MOST_WIDTH)
    """The size of a word's vector, and of a layer's output in one direction; a hidden state has both directions."""
    positions: int = Field(MOST_PLACES, gt=0, le=MOST_PLACES)
    """The length of the longest sequence, in words. No table has this size."""
    characters: int = Field(MOST_CHARACTERS, gt=2, le=MOST_CHARACTERS)
    """The places for the characters of a word, the marks of its beginning and end included; longer words are cut."""
    character_width: int = Field(16, gt=0, le=MOST_WIDTH)
    """The size of a character's embedding."""
    filters: Annotated[tuple[tuple[_Size, _Size], ...], Field(min_length=1)] = (
        (1, 32),
        (2, 32),
        (3, 64),
        (4, 128),
        (5, 256),
        (6, 512),
        (7, 1024),
    )
    """The convolutions over a word's characters, each as its width and its number of filters."""
    highways: int = Field(2, ge=0, le=MOST_LAYERS)
    """The number of highway layers (Srivastava et al. 2015) after the convolutions."""
    activation: Literal["relu", "tanh"] = "relu"
    """The activation of the convolutions."""
    residual: bool = True
    """Whether the input of each LSTM layer but the first is added to its output."""
    cell_clip: float | None = Field(3.0, gt=0)
    """The largest absolute value of a memory cell; null for no limit."""
    projection_clip: float | None = Field(3.0, gt=0)
    """The largest absolute value of a layer's projected output; null for no limit."""
    dropout: float = Field(0.1, ge=0, lt=1)
    """Dropout of the input of each LSTM layer, and of the output of the last one."""

    @property
    def width(self) -> int:
        """The size of a hidden state: both directions side by side."""
        return 2 * self.projection

    @property
    def blocks(self) -> int:
        """The number of layers, each of both directions."""
        return self.layers

    @property
    def last_blocks(self) -> int:
        """The same."""
        return self.blocks

    @property
    def initial_std(self) -> float:
        """Standard deviation of the initial weights of a task's head; the model's own are as in the authors' code."""
        return 0.02

    @property
    def initial_truncated(self) -> bool:
        """Whether these weights are redrawn beyond two standard deviations."""
        return False

    @property
    def widest_filter(self) -> int:
        """The characters that the widest convolution sees."""
        return max(width for width, _ in self.filters)

    @model_validator(mode="after")
    def _filters_fit_words(self) -> Self:
        if self.widest_filter > self.characters:
            raise ValueError(
                f"filters: a width of {self.widest_filter} is more than the characters of a word ({self.characters})"
            )
        return self
