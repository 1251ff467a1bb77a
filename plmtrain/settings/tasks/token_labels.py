"""A label for each word of a text."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from plmtrain.families import MODEL_FAMILIES
from plmtrain.settings.base import Texts
from plmtrain.settings.tasks.base import HeadTaskSettings
from plmtrain.settings.taught_task import TaughtClassesSettings

_MARKS = frozenset({"B-", "I-", "E-", "L-", "S-", "U-"})
"""The beginnings of labels that mark names: their first word, those within, the last one (E, L) and an only one (S, U)."""


class TokenLabelsSettings(TaughtClassesSettings, HeadTaskSettings):
    """A label for each word, such as its part of speech, or its part in a name (Devlin et al. 2019, section 5.3)."""

    families: ClassVar[frozenset[str]] = frozenset(name for name, row in MODEL_FAMILIES.items() if row.kind != "encoder_decoder")
    decides_parameters: ClassVar[frozenset[str]] = HeadTaskSettings.decides_parameters | {"labels"}
    found_in_data: ClassVar[frozenset[str]] = frozenset({"labels"})

    type: Literal["token_labels"] = "token_labels"
    text: str = "tokens"
    """The column of the words: a list, or text with white space between words."""
    label: str = "tags"
    """The column of their labels."""
    labels: Texts = ()
    """The labels in the order of their numbers; found in the training data if not given, by alphabet."""
    unit: Literal["words", "characters"] = "words"
    """The parts of a text that have a label: words, or characters, for which the column of the words has a list of characters or
    the text, and that of the labels one for each of them. Those of white space are not read. A token has the label of its first
    character, and its other characters continue the name that it begins (Park et al. 2021, section 3.4, and their code)."""
    scheme: Literal["auto", "entities", "words"] = "auto"
    """entities: B- and I- mark the words of names, and E- or L- their last and S- or U- their only one where corpora have these;
    whole names are scored; words: each word is scored; auto: entities if every label is O or begins so."""
    average: Literal["micro", "macro"] = "micro"
    """The precision, recall and F1 of names: of all names (micro), or the mean of those of their types (macro)."""
    strict: bool = False
    """Whether a name must begin with B-; else an I- that continues nothing begins one, too."""
    overlap: int = Field(32, ge=0)
    """The tokens that two windows of a text that is longer than a row have in common, at most half of a row."""
    dropout: float | None = Field(None, ge=0, lt=1)
    """Dropout before the head; the model's if not given."""

    @model_validator(mode="after")
    def _labels(self) -> TokenLabelsSettings:
        if len(self.labels) == 1 or len(set(self.labels)) < len(self.labels):
            raise ValueError(f"labels must be two or more, all different, and are {list(self.labels)}")
        if self.text == self.label:
            raise ValueError("text and label name one column")
        return self

    @model_validator(mode="after")
    def _names(self) -> TokenLabelsSettings:
        for name in ("average", "strict"):
            if self.scheme == "words" and getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"{name} is of names: omit it, or scheme=words")
        if self.strict and (other := [label for label in self.labels if label != "O" and label[:2] not in ("B-", "I-")]):
            raise ValueError(f"strict is of names marked by B- and I-, and there is a label {other[0]}")
        return self

    @property
    def texts_in_row(self) -> int:
        return 1

    @property
    def entities(self) -> bool:
        """Whether labels mark names, which are scored as wholes."""
        if self.scheme != "auto":
            return self.scheme == "entities"
        return bool(self.labels) and all(label == "O" or label[:2] in _MARKS for label in self.labels)

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics of validation; the best checkpoint by the first is the run's result."""
        of_labels = ("accuracy", "macro_f1") if self.unit == "characters" else ("accuracy",)
        return ("f1", "precision", "recall", *of_labels) if self.entities else of_labels

    def within(self, label: str) -> str:
        """Return the label of the characters of a token after its first one, which has a label: they continue its name."""
        inside = f"I-{label[2:]}"
        return inside if label.startswith("B-") and inside in self.labels else label
