"""Scores of texts, and of pairs of texts."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from plmtrain.settings.tasks.base import WordedTaskSettings
from plmtrain.settings.taught_task import TaughtTaskSettings

Metric = Literal["pearson", "spearman", "mse", "f1"]


class RegressionSettings(TaughtTaskSettings, WordedTaskSettings):
    """A number for a text or a pair of texts, as for STS-B in GLUE (Wang et al. 2018, section 3.2).

    ``label`` is the column of the score.
    """

    lower_is_better: ClassVar[frozenset[str]] = frozenset({"mse"})
    of_words: ClassVar[frozenset[str]] = WordedTaskSettings.of_words | {"rounding"}

    type: Literal["regression"] = "regression"
    minimum: float | None = None
    """The lowest possible score: rows with a lower score are refused. Answers are not clipped to it."""
    maximum: float | None = None
    """The highest possible score: rows with a higher score are refused. Answers are not clipped to it."""
    rounding: float = Field(0.2, gt=0)
    """The number to whose multiples scores are rounded that are written (Raffel et al. 2020, section 2.4)."""
    positive_from: float | None = None
    """The score from which a text or a pair is positive, for the metric f1."""
    metrics: Annotated[tuple[Metric, ...], Field(min_length=1)] = ("pearson", "spearman", "mse")
    """The metrics of validation; the checkpoint that is best by the first one is the run's result. A higher correlation is
    better, a lower mse (mean squared error), and a higher f1 of the positive examples."""

    @model_validator(mode="after")
    def _bounds(self) -> RegressionSettings:
        if self.minimum is not None and self.maximum is not None and self.minimum >= self.maximum:
            raise ValueError(f"minimum ({self.minimum:g}) must be below maximum ({self.maximum:g})")
        return self

    @model_validator(mode="after")
    def _positive(self) -> RegressionSettings:
        if "f1" in self.metrics and self.positive_from is None:
            raise ValueError("positive_from is missing: f1 needs the score from which an example is positive")
        if "f1" not in self.metrics and self.positive_from is not None:
            raise ValueError("positive_from is for the metric f1: add it to metrics, or omit positive_from")
        return self

    def word(self, score: float) -> str:
        """Return the number that is written for a score, with as many decimals as ``rounding`` has."""
        step = Decimal(repr(self.rounding))
        decimals = max(0, -int(step.normalize().as_tuple().exponent))
        return f"{round(Decimal(repr(score)) / step) * step + 0:.{decimals}f}"
