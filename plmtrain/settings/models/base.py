"""What every model's settings say."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from plmtrain.families import MODEL_FAMILIES, ModelFamily, model_families
from plmtrain.settings.base import Name, Settings


class ModelSettings(Settings):
    """The shape of a model."""

    kind: ClassVar[str]
    """What the backbone is to an objective: ``encoder``, ``decoder``, ``encoder_decoder``, ``two_stream`` or ``bilstm``."""

    type: str
    """The module of ``plmtrain.backbones`` that builds it."""
    name: Name
    """What users call it: the name of its YAML."""
    family: str
    """The published system that it follows, a row of ``plmtrain.families``: for its special tokens, and for the names of its
    tensors in a Hugging Face folder."""
    positions: int = Field(gt=0)
    """The longest sequence that it takes, in tokens."""

    @classmethod
    def names_of(cls, field: str) -> list[str]:
        return model_families(cls.kind) if field == "family" else []

    @property
    def published(self) -> ModelFamily:
        """The facts about its family."""
        return MODEL_FAMILIES[self.family]
