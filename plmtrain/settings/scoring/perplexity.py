"""Perplexity over windows of text."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from plmtrain.settings.scoring.base import LikelihoodSettings


class PerplexitySettings(LikelihoodSettings):
    """Perplexity over windows, for each token, word and byte; for an encoder, the same from pseudo-likelihoods.

    Without ``files``, the text is the run's own held-out text.
    """

    type: Literal["perplexity"] = "perplexity"
    text_column: str = "text"
    """The key of the text in the lines of ``.jsonl`` files, or its column in ``.csv``, ``.tsv`` and ``.parquet`` files; other
    files are plain text."""
    document_per: Literal["file", "blank_line", "line"] = "file"
    """The unit of a document in plain text: the whole file, the lines between blank lines, or a line."""
    window: int | None = Field(None, gt=1)
    """Tokens of a window; as many as the run was trained on, or the model takes, if omitted."""
    stride: int | None = Field(None, gt=0)
    """Tokens from the start of a window to the start of the next one; half a window if omitted."""

    @model_validator(mode="after")
    def _no_gaps(self) -> PerplexitySettings:
        if self.window is not None and self.stride is not None and self.stride > self.window:
            raise ValueError(f"stride ({self.stride}) must be at most window ({self.window}): no token may be omitted")
        return self
