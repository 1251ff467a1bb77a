"""Multiple choice by likelihood."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from plmtrain.settings.scoring.base import FewShotSettings, LikelihoodSettings, require_files


class ChoicesSettings(LikelihoodSettings, FewShotSettings):
    """The most likely of several continuations of a text (Brown et al. 2020, section 2.4)."""

    type: Literal["choices"] = "choices"
    choices_column: str = "choices"
    """The column of the list of choices."""
    answer_column: str = "answer"
    """The column of the right choice: its text, or its number from 0."""
    compare: Literal["sum", "per_token", "per_byte", "unconditional"] = "per_token"
    """How choices of different lengths are compared: by the log-likelihood of all their tokens, divided by their tokens or by
    their UTF-8 bytes, or minus the log-likelihood after ``neutral_context`` alone."""
    neutral_context: str = "Answer:"
    """The text that takes the place of the question for compare=unconditional."""

    @model_validator(mode="after")
    def _has_files(self) -> ChoicesSettings:
        require_files(self, "questions.jsonl")
        return self
