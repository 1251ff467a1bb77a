"""Permutation language modelling: XLNet's."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from plmtrain.settings.base import MOST_PLACES
from plmtrain.settings.objectives.base import ObjectiveSettings, Reads


class PermutationLMSettings(ObjectiveSettings):
    """Yang et al. 2019, sections 2.2 to 2.5. The names are those of the authors' code."""

    reads: ClassVar[Reads] = "streams"
    backbones: ClassVar[frozenset[str]] = frozenset({"two_stream"})
    roles: ClassVar[frozenset[str]] = frozenset({"cls", "sep", "mask"})

    type: Literal["plm"] = "plm"
    context: int = Field(6, gt=1)
    """K: one token in K is predicted, and a span of n tokens lies in a window of n * K (section 2.3)."""
    num_predict: int | None = Field(None, gt=0)
    """Tokens predicted in a row (the authors' code: 85 in 512); None for the row's length / K, rounded."""
    max_gram: int = Field(5, gt=0, le=1024)
    """The longest span; one of n tokens is drawn with a probability proportional to 1 / n."""
    perm_size: int | None = Field(None, gt=0)
    """The size of the windows whose places are permuted, in order from left to right; None for all of a row's part."""
    reuse_len: int | None = Field(None, ge=0)
    """Tokens at the beginning of a row that are remembered; the next row begins after them; None for half of the row."""
    mem_len: int | None = Field(None, ge=0, le=MOST_PLACES)
    """Remembered tokens (section 2.4); 0 for no memory, None for three quarters of the row (384 for 512)."""
    random_share: float = Field(0.5, ge=0, le=1)
    """How often the second segment is a text from elsewhere instead of the continuation (section 2.5)."""
