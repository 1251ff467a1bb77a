"""T5's deshuffling objective: write a text whose tokens are in random order."""

from __future__ import annotations

from typing import ClassVar, Literal

from plmtrain.settings.objectives.base import ObjectiveSettings, Reads


class DeshufflingSettings(ObjectiveSettings):
    """Raffel et al. 2020, section 3.3.1: an encoder reads the shuffled tokens, the decoder writes them in their order."""

    reads: ClassVar[Reads] = "blocks"
    backbones: ClassVar[frozenset[str]] = frozenset({"encoder_decoder"})

    type: Literal["deshuffling"] = "deshuffling"
