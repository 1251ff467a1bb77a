"""Free text that a model writes after a question."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from plmtrain.settings.base import Texts
from plmtrain.settings.generation import MOST_BEAMS
from plmtrain.settings.scoring.base import FewShotSettings, require_files


class CompletionsSettings(FewShotSettings):
    """Written answers against right ones, by exact match and F1 of their words (Brown et al. 2020, section 2.4)."""

    type: Literal["completions"] = "completions"
    answer_column: str = "answer"
    """The column of the right answer, or of a list of right ones."""
    max_new_tokens: int = Field(32, gt=0)
    """The most tokens that are written."""
    stop: Texts = ("\n",)
    """Texts that end an answer."""
    beams: int = Field(1, gt=0, le=MOST_BEAMS)
    """Texts that beam search keeps in parallel; 1 takes the most likely token each time."""
    length_penalty: float = 1.0
    """With beams: scores are divided by the length to this power."""
    batch_rows: int = Field(16, gt=0)
    """Questions that are answered at a time."""

    @model_validator(mode="after")
    def _has_files(self) -> CompletionsSettings:
        require_files(self, "questions.jsonl")
        if "" in self.stop:
            raise ValueError("stop has an empty text in it: name texts that end an answer")
        if self.beams == 1 and self.length_penalty != 1:
            raise ValueError("length_penalty acts on beams: give beams of 2 or more, too")
        return self
