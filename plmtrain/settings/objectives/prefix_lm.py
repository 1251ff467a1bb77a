"""Prefix language modelling: continue a text of which the beginning is read in both directions."""

from __future__ import annotations

from typing import ClassVar, Literal

from plmtrain.settings.objectives.base import ObjectiveSettings, Reads


class PrefixLMSettings(ObjectiveSettings):
    """Raffel et al. 2020, sections 3.2.1 and 3.3.1: a decoder whose prefix sees itself whole, or an encoder that reads the
    prefix."""

    reads: ClassVar[Reads] = "blocks"
    backbones: ClassVar[frozenset[str]] = frozenset({"decoder", "encoder_decoder"})
    sees_ahead: ClassVar[bool] = True

    type: Literal["prefix_lm"] = "prefix_lm"

    @property
    def texts_in_row(self) -> int:
        return 0
