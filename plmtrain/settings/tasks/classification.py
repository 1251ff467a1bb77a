"""Classes of texts, and of pairs of texts."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from plmtrain.families import MODEL_FAMILIES
from plmtrain.settings.base import Texts
from plmtrain.settings.tasks.base import TaskSettings

Metric = Literal["accuracy", "f1", "mcc"]


class ClassificationSettings(TaskSettings):
    """Devlin et al. 2019, section 4.1: one label for a text or a pair of texts."""

    families: ClassVar[frozenset[str]] = frozenset(name for name, row in MODEL_FAMILIES.items() if row.head is not None)

    type: Literal["classification"] = "classification"
    text: Annotated[Texts, Field(min_length=1, max_length=2)]
    """The column of the text, or the two columns of a pair."""
    label: str = "label"
    """The column of the label."""
    labels: Texts = ()
    """The labels in the order of their numbers; found in the training data if not given, numbers by size, words by alphabet."""
    metrics: Annotated[tuple[Metric, ...], Field(min_length=1)] = ("accuracy", "f1")
    """What is measured in validation; the checkpoint that is best by the first is the run's result. F1 is the second label's
    where there are two, else the labels' mean; mcc is Matthews' correlation."""
    dropout: float | None = Field(None, ge=0, lt=1)
    """Dropout inside the head; that of the family's published head if not given."""

    @model_validator(mode="after")
    def _labels(self) -> ClassificationSettings:
        if len(self.labels) == 1 or len(set(self.labels)) < len(self.labels):
            raise ValueError(f"labels must be two or more, all different, and are {list(self.labels)}")
        if len(set(self.text)) < len(self.text):
            raise ValueError("text names one column twice")
        return self
