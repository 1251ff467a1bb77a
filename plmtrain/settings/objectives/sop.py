"""Masked language modelling with sentence order prediction: ALBERT's."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from plmtrain.settings.masking import MaskingSettings
from plmtrain.settings.objectives.base import ObjectiveSettings, Reads
from plmtrain.settings.pairs import PairSettings


class SentenceOrderSettings(PairSettings, MaskingSettings, ObjectiveSettings):
    """Lan et al. 2020, sections 3.1 (sentence order) and 4.1 (n-gram masking)."""

    relation: ClassVar[Literal["next", "order", "within"]] = "order"
    reads: ClassVar[Reads] = "segment_pairs"
    backbones: ClassVar[frozenset[str]] = frozenset({"encoder"})
    roles: ClassVar[frozenset[str]] = frozenset({"mask"})

    type: Literal["sop"] = "sop"
    max_ngram: int = Field(3, gt=0, le=1024)
    """The longest span of words that is predicted together; the probability of n words is proportional to 1 / n."""
    whole_words: bool = True

    @property
    def pairs(self) -> PairSettings:
        return self
