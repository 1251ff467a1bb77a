"""Classes of texts, and of pairs of texts."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from plmtrain.errors import nearest
from plmtrain.settings.base import Texts
from plmtrain.settings.tasks.base import WordedTaskSettings
from plmtrain.settings.taught_task import TaughtClassesSettings

Metric = Literal["accuracy", "f1", "mcc", "auprc", "exact_match", "micro_f1", "macro_f1", "subset_accuracy"]

_OF_ONE: tuple[Metric, ...] = ("accuracy", "f1", "mcc", "micro_f1", "auprc", "exact_match")
_OF_SEVERAL: tuple[Metric, ...] = ("micro_f1", "macro_f1", "subset_accuracy")


class ClassificationSettings(TaughtClassesSettings, WordedTaskSettings):
    """One label for a text or a pair of texts (Devlin et al. 2019, section 4.1), or any number of them."""

    decides_parameters: ClassVar[frozenset[str]] = WordedTaskSettings.decides_parameters | {"labels", "multi_label"}
    of_head: ClassVar[frozenset[str]] = WordedTaskSettings.of_head | {
        "class_weights",
        "label_counts",
        "label_smoothing",
        "multi_label",
        "windows",
        "overlap",
        "group",
    }
    of_words: ClassVar[frozenset[str]] = WordedTaskSettings.of_words | {"label_words"}
    found_in_data: ClassVar[frozenset[str]] = frozenset({"labels", "label_counts"})

    type: Literal["classification"] = "classification"
    labels: Texts = ()
    """The labels in the order of their numbers; found in the training data if not given, numbers by size, words by alphabet."""
    label_words: dict[str, str] = Field(default_factory=dict)
    """The words of labels whose answers are written; the label itself if not given."""
    class_weights: Literal["balanced"] | tuple[Annotated[float, Field(gt=0)], ...] = ()
    """The weight of an example in the loss of training by its label, in the order of the labels; balanced: examples / (labels *
    examples of the label), as in scikit-learn. Equal ones if not given. Validation is not weighted."""
    label_counts: tuple[Annotated[int, Field(gt=0)], ...] = ()
    """The counts of the labels for balanced weights, in the order of the labels; those of the training data if not given."""
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    """The share of the right label's probability that is spread evenly over all labels in the loss of training (Szegedy et al.
    2016, section 7)."""
    group: Texts = ()
    """The columns that say which examples belong together, such as the answers to one question; they are on one side where a
    part is held out, and exact_match needs them. The same value in two files is one group."""
    negative_label: str | None = None
    """The label that says that none of the others holds, which micro_f1 omits."""
    multi_label: bool = False
    """Whether a text has any number of labels, each of which is told apart from the others."""
    label_separator: str = Field(",", min_length=1)
    """With multi_label: the text between the labels of a cell that is not a list."""
    label_columns: Texts = ()
    """With multi_label: the columns of labels that have one each, with 1 for a label of the text, else 0; the columns' names are
    the labels, and label is not read."""
    threshold: float = Field(0.5, gt=0, lt=1)
    """With multi_label: the probability from which a label is given."""
    windows: Literal["mean", "maximum"] | None = None
    """How texts that are longer than a row are read: in windows, of whose scores the mean decides, or the maximum for each label;
    they are cut if not given."""
    overlap: int = Field(32, ge=0)
    """The tokens that two windows have in common, at most half of a row."""
    metrics: tuple[Metric, ...] = ()
    """The metrics of validation; the checkpoint that is best by the first is the run's result. accuracy and f1 if not given, and
    with multi_label micro_f1, macro_f1 and subset_accuracy. F1 is the second label's where there are two, else the labels' mean;
    mcc is Matthews' correlation; micro_f1 is of all labels of all texts, macro_f1 the labels' mean; subset_accuracy is the share
    of texts whose labels are all right, and no other is given; auprc is the mean over labels of the area under the curve of
    precision and recall; exact_match is the share of groups all of whose examples have the right label."""

    @model_validator(mode="before")
    @classmethod
    def _usual_metrics(cls, values: Any) -> Any:
        if not isinstance(values, dict) or values.get("metrics"):
            return values
        return {**values, "metrics": _OF_SEVERAL if values.get("multi_label") is True else _OF_ONE[:2]}

    @model_validator(mode="before")
    @classmethod
    def _labels_of_columns(cls, values: Any) -> Any:
        if not isinstance(values, dict) or values.get("labels") or not values.get("label_columns"):
            return values
        return {**values, "labels": values["label_columns"]}

    @model_validator(mode="after")
    def _labels(self) -> ClassificationSettings:
        if len(self.labels) == 1 or len(set(self.labels)) < len(self.labels):
            raise ValueError(f"labels must be two or more, all different, and are {list(self.labels)}")
        return self

    @model_validator(mode="after")
    def _several(self) -> ClassificationSettings:
        of_kind = _OF_SEVERAL if self.multi_label else _OF_ONE
        if wrong := [name for name in self.metrics if name not in of_kind]:
            which = "several labels a text" if self.multi_label else "one label a text"
            raise ValueError(f"metrics has {wrong[0]}, and with {which} there are {', '.join(of_kind)}")
        if self.multi_label and (self.group or self.negative_label is not None):
            raise ValueError(f"{'group' if self.group else 'negative_label'} is of one label a text: omit it, or multi_label")
        fields = type(self).model_fields
        for name in ("label_separator", "label_columns", "threshold"):
            if not self.multi_label and getattr(self, name) != fields[name].default:
                raise ValueError(f"{name} is of several labels a text: write multi_label=true, or omit it")
        for name in ("class_weights", "label_smoothing"):
            if self.multi_label and getattr(self, name):
                raise ValueError(f"{name} is of one label a text: omit it, or multi_label")
        if self.label_columns and self.label_columns != self.labels:
            raise ValueError("label_columns are the labels: omit labels")
        return self

    @model_validator(mode="after")
    def _together(self) -> ClassificationSettings:
        if "exact_match" in self.metrics and not self.group:
            raise ValueError("metrics has exact_match, which is of groups: name their columns, task.group=[...]")
        if self.negative_label is not None and "micro_f1" not in self.metrics:
            raise ValueError("negative_label is of micro_f1: name it in metrics, or omit negative_label")
        if self.labels and self.negative_label not in (None, *self.labels):
            raise ValueError(f"negative_label is no label: {nearest(str(self.negative_label), self.labels)}")
        return self

    @model_validator(mode="after")
    def _windows(self) -> ClassificationSettings:
        fields = type(self).model_fields
        if self.windows is None and self.overlap != fields["overlap"].default:
            raise ValueError("overlap is of windows: write windows=mean or windows=maximum, or omit it")
        if self.label_columns and self.label_separator != fields["label_separator"].default:
            raise ValueError("label_separator is of labels in one cell, and label_columns has a column for each: omit one")
        if self.windows is not None and len(self.text) > 1:
            raise ValueError("windows are of one text, and text names two columns")
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
    def of_all_answers(self) -> tuple[Metric, ...]:
        """The metrics that no sums over examples give."""
        return tuple(name for name in self.metrics if name in ("auprc", "exact_match"))

    @property
    def weights(self) -> tuple[float, ...]:
        """The weight of each label in the loss; none where all are equal."""
        if self.class_weights != "balanced":
            return self.class_weights
        return tuple(sum(self.label_counts) / (len(self.label_counts) * count) for count in self.label_counts)

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
