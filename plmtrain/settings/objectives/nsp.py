"""Masked language modelling with next sentence prediction: BERT's."""

from __future__ import annotations

from typing import ClassVar, Literal

from plmtrain.settings.masking import MaskingSettings
from plmtrain.settings.objectives.base import ObjectiveSettings, Reads
from plmtrain.settings.pairs import PairSettings


class NextSentenceSettings(PairSettings, MaskingSettings, ObjectiveSettings):
    """Devlin et al. 2019, section 3.1 (Tasks 1 and 2)."""

    relation: ClassVar[Literal["next", "order", "within"]] = "next"
    reads: ClassVar[Reads] = "segment_pairs"
    backbones: ClassVar[frozenset[str]] = frozenset({"encoder"})
    roles: ClassVar[frozenset[str]] = frozenset({"mask"})

    type: Literal["nsp"] = "nsp"

    @property
    def pairs(self) -> PairSettings:
        return self
