"""BART's denoising: restore a corrupted row."""

from __future__ import annotations

from typing import ClassVar, Literal

from plmtrain.settings.noising import NoisingSettings
from plmtrain.settings.objectives.base import ObjectiveSettings, Reads


class BartSettings(NoisingSettings, ObjectiveSettings):
    """Lewis et al. 2020, section 2.2; by default the noise of section 5.1."""

    reads: ClassVar[Reads] = "blocks"
    backbones: ClassVar[frozenset[str]] = frozenset({"encoder_decoder"})
    roles: ClassVar[frozenset[str]] = frozenset({"cls", "sep", "mask", "pad"})

    type: Literal["bart"] = "bart"
