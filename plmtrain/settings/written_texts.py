"""The settings of tasks whose answers are texts of any kind: their length, loss and metrics, and how they are written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from plmtrain.settings.base import MOST_PLACES
from plmtrain.settings.generation import GenerationSettings

Metric = Literal["chrf", "bleu", "rouge1", "rouge2", "rougeL", "exact_match", "accuracy", "loss"]
Metrics = Annotated[tuple[Metric, ...], Field(min_length=1)]


class WrittenTextsSettings(GenerationSettings):
    """Texts that are written, and compared with the right ones."""

    target_length: int | None = Field(None, gt=2, le=MOST_PLACES)
    """Tokens of a target, special ones included: longer ones are cut, and none longer is written; those of
    ``trainer.sequence_length`` if not given."""
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    """The share of each target's probability that is spread over the whole vocabulary in training (Szegedy et al. 2016, section
    7)."""
    metrics: Metrics = ("chrf", "bleu", "rougeL", "exact_match")
    """The metrics of validation; the checkpoint that is best by the first is the run's result. With ``loss`` alone nothing is
    written in validation."""
    bleu_tokens: Literal["13a", "intl", "char", "zh"] = "13a"
    """How sacrebleu divides texts into tokens for bleu."""

    @property
    def libraries(self) -> Mapping[str, str]:
        """The libraries of the extra ``eval`` that its metrics need, by metric."""
        return libraries_of(self.metrics)

    @property
    def lengths(self) -> Mapping[str, int]:
        """The settings that are a number of tokens of a row, besides ``trainer.sequence_length``."""
        given = {"target_length": self.target_length, "max_new_tokens": self.max_new_tokens}
        return {name: length for name, length in given.items() if length is not None}

    @property
    def generation(self) -> GenerationSettings:
        """How texts are written."""
        return GenerationSettings(**{name: getattr(self, name) for name in GenerationSettings.model_fields})


def libraries_of(metrics: tuple[Metric, ...]) -> dict[str, str]:
    """Return the libraries of the extra ``eval`` that metrics of texts need, by metric."""
    return {
        name: "rouge_score" if name.startswith("rouge") else "sacrebleu"
        for name in metrics
        if name.startswith(("rouge", "bleu", "chrf"))
    }
