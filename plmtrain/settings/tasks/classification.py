"""Classes of texts, and of pairs of texts."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from plmtrain.settings.base import Texts
from plmtrain.settings.tasks.base import SentenceTaskSettings

Metric = Literal["accuracy", "f1", "mcc"]


class ClassificationSettings(SentenceTaskSettings):
    """One label for a text or a pair of texts (Devlin et al. 2019, section 4.1)."""

    decides_parameters: ClassVar[frozenset[str]] = SentenceTaskSettings.decides_parameters | {"labels"}
    found_in_data: ClassVar[frozenset[str]] = frozenset({"labels", "label_counts"})

    type: Literal["classification"] = "classification"
    labels: Texts = ()
    """The labels in the order of their numbers; found in the training data if not given, numbers by size, words by alphabet."""
    class_weights: Literal["balanced"] | tuple[Annotated[float, Field(gt=0)], ...] = ()
    """The weight of an example in the loss of training by its label, in the order of the labels; balanced: examples / (labels *
    examples of the label), as in scikit-learn. Equal ones if not given. Validation is not weighted."""
    label_counts: tuple[Annotated[int, Field(gt=0)], ...] = ()
    """The counts of the labels for balanced weights, in the order of the labels; those of the training data if not given."""
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    """The share of the right label's probability that is spread evenly over all labels in the loss of training (Szegedy et al.
    2016, section 7)."""
    metrics: Annotated[tuple[Metric, ...], Field(min_length=1)] = ("accuracy", "f1")
    """The metrics of validation; the checkpoint that is best by the first is the run's result. F1 is the second label's
    where there are two, else the labels' mean; mcc is Matthews' correlation."""

    @model_validator(mode="after")
    def _labels(self) -> ClassificationSettings:
        if len(self.labels) == 1 or len(set(self.labels)) < len(self.labels):
            raise ValueError(f"labels must be two or more, all different, and are {list(self.labels)}")
        return self

    @model_validator(mode="after")
    def _a_weight_for_each(self) -> ClassificationSettings:
        if self.label_counts and self.class_weights != "balanced":
            raise ValueError("label_counts are for class_weights=balanced")
        for name, numbers in (("class_weights", self.class_weights), ("label_counts", self.label_counts)):
            if self.labels and numbers and numbers != "balanced" and len(numbers) != len(self.labels):
                raise ValueError(f"{name} has {len(numbers)} numbers, and there are {len(self.labels)} labels")
        return self

    @property
    def weights(self) -> tuple[float, ...]:
        """The weight of each label in the loss; none where all are equal."""
        if self.class_weights != "balanced":
            return self.class_weights
        return tuple(sum(self.label_counts) / (len(self.label_counts) * count) for count in self.label_counts)
