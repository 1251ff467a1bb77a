"""Texts as answers to texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from plmtrain.families import MODEL_FAMILIES
from plmtrain.settings.base import Texts
from plmtrain.settings.models.base import MOST_LAYERS
from plmtrain.settings.tasks.base import TextTaskSettings
from plmtrain.settings.written_texts import WrittenTextsSettings


class SequenceToSequenceSettings(WrittenTextsSettings, TextTaskSettings):
    """A text for a text or a pair, such as its translation, its summary or the word for its class (Raffel et al. 2020, section
    2.4)."""

    families: ClassVar[frozenset[str]] = frozenset(name for name, row in MODEL_FAMILIES.items() if row.kind == "encoder_decoder")
    decides_parameters: ClassVar[frozenset[str]] = frozenset({"source_layers", "trains"})
    lower_is_better: ClassVar[frozenset[str]] = frozenset({"loss"})

    type: Literal["sequence_to_sequence"] = "sequence_to_sequence"
    target: str = "target"
    """The column of the text that shall be written."""
    prefix: str = Field("", max_length=2**16)
    """Text before each text that is read, e.g. ``translate English to German: ``."""
    languages: Texts = ()
    """The language of the texts and that of the targets, for a model that has embeddings of languages."""
    source_layers: int = Field(0, ge=0, le=MOST_LAYERS)
    """Blocks of a new encoder for the language of the texts, whose states take the place of the model's token embeddings; 0 for
    none (Lewis et al. 2020, section 3.4)."""
    trains: Literal["all", "source"] = "all"
    """``source``: only that encoder, the positions, and the projection behind it, as in the first of the paper's two steps."""

    @model_validator(mode="after")
    def _another_column(self) -> SequenceToSequenceSettings:
        if self.target in self.text:
            raise ValueError(f"target and text name the same column, {self.target}")
        return self

    @model_validator(mode="after")
    def _something_new(self) -> SequenceToSequenceSettings:
        if self.trains == "source" and not self.source_layers:
            raise ValueError("trains=source trains a new encoder: give source_layers, too, such as 6")
        return self

    def language_numbers(self, known: Sequence[str]) -> tuple[int, ...]:
        if not known and self.languages:
            raise ValueError("the model has no languages")
        if known and (len(self.languages) != 2 or not set(self.languages) <= set(known)):
            raise ValueError(f"the language of the texts and that of the targets must be two of {', '.join(known)}")
        return tuple(known.index(name) for name in self.languages)
