"""Language modelling in two directions: ELMo's."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from plmtrain.settings.objectives.base import ObjectiveSettings, Reads
from plmtrain.settings.tokenizer import MOST_TOKENS


class BidirectionalLMSettings(ObjectiveSettings):
    """Peters et al. 2018, section 3.1: predict each word from those before it, and from those after it."""

    reads: ClassVar[Reads] = "two_way_streams"
    backbones: ClassVar[frozenset[str]] = frozenset({"bilstm"})
    roles: ClassVar[frozenset[str]] = frozenset({"unk", "bos", "eos"})

    type: Literal["bilm"] = "bilm"
    negatives: int | None = Field(8192, gt=0, le=MOST_TOKENS)
    """The words, drawn anew in each step, that the right ones are compared with in training (Jozefowicz et al. 2016, section 3.1;
    the number is that of ELMo's code). Null for all words, which are also taken where the vocabulary has less than twice as many.
    Validation always takes all words."""

    @property
    def texts_in_row(self) -> int:
        return 0
