"""Choices between texts."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from plmtrain.settings.base import Texts
from plmtrain.settings.tasks.base import RowTaskSettings

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
"""The letters by which choices are called in tests of reading."""


class MultipleChoiceSettings(RowTaskSettings):
    """One of several texts that belongs to a context or answers a question (Radford et al. 2018, section 3.3; Devlin et al. 2019,
    section 4.4)."""

    type: Literal["multiple_choice"] = "multiple_choice"
    context: str | None = "context"
    """The column of the text that is read before each choice, as the first text of a pair; None for choices alone."""
    question: str | None = None
    """The column of a text in front of each choice, in the same text as the choice; None for none."""
    question_texts: dict[str, str] = Field(default_factory=dict)
    """Texts that are read in place of certain questions, by question."""
    blank: str | None = Field(None, min_length=1)
    """The mark in a question whose place the choice takes; without it, a choice stands after the question."""
    choices: Annotated[Texts, Field(min_length=1)] = ("choices",)
    """The columns of the choices in order, or one column that has a list of them."""
    label_as: Literal["index", "number", "letter", "text", "texts"] = "index"
    """How the right choice is given: index: its number from 0, or the name of its column; number: from 1; letter: A for
    the first one; text: the choice itself; texts: a list of texts, each of which is right."""

    @model_validator(mode="after")
    def _columns(self) -> MultipleChoiceSettings:
        named = [name for name in (self.context, self.question, *self.choices, self.label) if name is not None]
        if twice := [name for name in named if named.count(name) > 1]:
            raise ValueError(f"context, question, choices and label name one column twice: {twice[0]}")
        for name in ("question_texts", "blank"):
            if getattr(self, name) and self.question is None:
                raise ValueError(f"{name} is of questions: name their column, task.question=")
        return self

    @property
    def texts_in_row(self) -> int:
        return 1 if self.context is None else 2

    @property
    def leading(self) -> tuple[str, ...]:
        """The columns of an example that are not choices."""
        return tuple(name for name in (self.context, self.question) if name is not None)

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics of validation; the best checkpoint by the first is the run's result."""
        return ("f1", "exact_match") if self.several_right else ("accuracy",)

    @property
    def several_right(self) -> bool:
        """Whether an example may have several right choices."""
        return self.label_as == "texts"
