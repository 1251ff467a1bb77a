"""Causal language modelling: GPT's."""

from __future__ import annotations

from typing import ClassVar, Literal

from plmtrain.settings.objectives.base import ObjectiveSettings, Reads


class CausalLMSettings(ObjectiveSettings):
    """Radford et al. 2018, section 3.1: predict each token from those before it."""

    reads: ClassVar[Reads] = "blocks"
    backbones: ClassVar[frozenset[str]] = frozenset({"decoder"})

    type: Literal["clm"] = "clm"

    @property
    def texts_in_row(self) -> int:
        return 0
