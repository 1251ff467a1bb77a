"""Answers to questions, found in a text."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from plmtrain.families import MODEL_FAMILIES
from plmtrain.settings.base import MOST_PLACES, Texts
from plmtrain.settings.tasks.base import HeadTaskSettings, TextTaskSettings

Metric = Literal["f1", "exact_match", "rouge_w"]

_WHY_NOT = {
    "decoder": "it reads from left to right, and knows nothing of what follows the place that it would mark",
    "encoder_decoder": "it writes its answers: task=sequence_to_sequence task.text=[question,context]",
    "bilstm": "the published network for it is another one, on top of the model's states",
    "encoder": "none was published",
}
"""By the kind of backbone, why a family has no head that finds answers in a text."""


class QuestionAnsweringSettings(TextTaskSettings, HeadTaskSettings):
    """The part of a text that answers a question, as in SQuAD (Devlin et al. 2019, sections 4.2 and 4.3)."""

    families: ClassVar[frozenset[str]] = frozenset(name for name, row in MODEL_FAMILIES.items() if row.question is not None)
    tuned: ClassVar[frozenset[str]] = frozenset({"threshold"})

    type: Literal["question_answering"] = "question_answering"
    text: Annotated[Texts, Field(min_length=2, max_length=2)] = ("question", "context")
    """The column of the question, and that of the text in which its answer is found (the context)."""
    label: str = "answers"
    """The column of the right answers: their texts and the characters of the context at which they start."""
    unanswerable: bool = False
    """Whether a question may have no answer in its context, as in SQuAD 2.0 (Rajpurkar et al. 2018)."""
    threshold: float | None = None
    """The score of no answer minus that of the best answer above which there is no answer; when a run ends, tuned on its held-out
    examples if not given."""
    stride: int | None = Field(None, gt=0, le=MOST_PLACES)
    """The tokens from the start of a window of a long context to the start of the next one; a third of a row's if not given."""
    question_length: int = Field(64, gt=0, le=MOST_PLACES)
    """The most tokens of a question, and at most half of a row: longer ones are cut."""
    answer_length: int = Field(30, gt=0, le=MOST_PLACES)
    """The most tokens of an answer."""
    n_best: int = Field(20, gt=0, le=1000)
    """The best answers to a question that are compared, and written with their probabilities."""
    dropout: float | None = Field(None, ge=0, lt=1)
    """Dropout of the states before the head; that of the family's published head if not given."""
    metrics: Annotated[tuple[Metric, ...], Field(min_length=1)] = ("f1", "exact_match")
    """The metrics of validation: those of SQuAD, and rouge_w, KLUE's over characters. The checkpoint that is best by the first is
    the run's result."""

    @model_validator(mode="after")
    def _threshold(self) -> QuestionAnsweringSettings:
        if self.threshold is not None and not self.unanswerable:
            raise ValueError("threshold is of questions without an answer: write unanswerable=true, too")
        return self

    @model_validator(mode="after")
    def _another_column(self) -> QuestionAnsweringSettings:
        if self.label in self.text:
            raise ValueError(f"label and text name the same column, {self.label}")
        return self

    def why_not(self, family: str) -> str | None:
        return _WHY_NOT.get(MODEL_FAMILIES[family].kind)
