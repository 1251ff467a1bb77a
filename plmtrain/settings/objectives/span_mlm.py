"""Masked language modelling on spans: SpanBERT's masking alone."""

from __future__ import annotations

from typing import ClassVar, Literal

from plmtrain.settings.objectives.base import ObjectiveSettings, Reads
from plmtrain.settings.spans import SpanSettings


class SpanMLMSettings(SpanSettings, ObjectiveSettings):
    """Joshi et al. 2020, section 3.1."""

    reads: ClassVar[Reads] = "blocks"
    backbones: ClassVar[frozenset[str]] = frozenset({"encoder", "disentangled"})
    roles: ClassVar[frozenset[str]] = frozenset({"mask"})

    type: Literal["span_mlm"] = "span_mlm"
