"""Classes of texts, and of pairs of texts."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from plmtrain.settings.base import Texts
from plmtrain.settings.tasks.base import SentenceTaskSettings
from plmtrain.settings.taught_task import TaughtClassesSettings

Metric = Literal["accuracy", "f1", "mcc"]


class ClassificationSettings(TaughtClassesSettings, SentenceTaskSettings):
    """One label for a text or a pair of texts (Devlin et al. 2019, section 4.1)."""

    decides_parameters: ClassVar[frozenset[str]] = SentenceTaskSettings.decides_parameters | {"labels"}
    found_in_data: ClassVar[frozenset[str]] = frozenset({"labels"})

    type: Literal["classification"] = "classification"
    labels: Texts = ()
    """The labels in the order of their numbers; found in the training data if not given, numbers by size, words by alphabet."""
    metrics: Annotated[tuple[Metric, ...], Field(min_length=1)] = ("accuracy", "f1")
    """The metrics of validation; the checkpoint that is best by the first is the run's result. F1 is the second label's
    where there are two, else the labels' mean; mcc is Matthews' correlation."""

    @model_validator(mode="after")
    def _labels(self) -> ClassificationSettings:
        if len(self.labels) == 1 or len(set(self.labels)) < len(self.labels):
            raise ValueError(f"labels must be two or more, all different, and are {list(self.labels)}")
        return self
