"""Classes of texts, and of pairs of texts."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from plmtrain.errors import nearest
from plmtrain.settings.base import Texts
from plmtrain.settings.tasks.base import WordedTaskSettings

Metric = Literal["accuracy", "f1", "mcc"]


class ClassificationSettings(WordedTaskSettings):
    """One label for a text or a pair of texts (Devlin et al. 2019, section 4.1)."""

    decides_parameters: ClassVar[frozenset[str]] = WordedTaskSettings.decides_parameters | {"labels"}
    of_words: ClassVar[frozenset[str]] = WordedTaskSettings.of_words | {"label_words"}
    found_in_data: ClassVar[frozenset[str]] = frozenset({"labels"})

    type: Literal["classification"] = "classification"
    labels: Texts = ()
    """The labels in the order of their numbers; found in the training data if not given, numbers by size, words by alphabet."""
    label_words: dict[str, str] = Field(default_factory=dict)
    """The words of labels whose answers are written; the label itself if not given."""
    metrics: Annotated[tuple[Metric, ...], Field(min_length=1)] = ("accuracy", "f1")
    """The metrics of validation; the checkpoint that is best by the first is the run's result. F1 is the second label's
    where there are two, else the labels' mean; mcc is Matthews' correlation."""

    @model_validator(mode="after")
    def _labels(self) -> ClassificationSettings:
        if len(self.labels) == 1 or len(set(self.labels)) < len(self.labels):
            raise ValueError(f"labels must be two or more, all different, and are {list(self.labels)}")
        return self

    @model_validator(mode="after")
    def _words(self) -> Self:
        if self.labels and (problem := self.wrong_words()) is not None:
            raise ValueError(problem)
        return self

    def word(self, label: str) -> str:
        """Return the words that are written for a label, with one space between two."""
        return " ".join(self.label_words.get(label, label).split())

    def wrong_words(self) -> str | None:
        """Say what is wrong with the words of the labels; None if nothing is."""
        labels: dict[str, str] = {}
        for label in self.labels:
            if not self.word(label):
                return f"label_words has nothing to write for '{label}'"
            if (other := labels.setdefault(self.word(label), label)) != label:
                return f"label_words has one word, '{self.word(label)}', for the labels {other} and {label}: give each its own"
        unknown = [label for label in self.label_words if label not in self.labels]
        return f"label_words names '{unknown[0]}', which is no label: {nearest(unknown[0], self.labels)}" if unknown else None
