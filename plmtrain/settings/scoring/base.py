"""The settings that several types of scoring have in common."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from plmtrain.settings.base import Settings, Texts

AlsoHidden = Literal["none", "rest_of_word", "whole_word"]


class ScoringSettings(Settings):
    """A way to score a language model as it is, without training."""

    type: str
    """The module of ``plmtrain.scoring`` that implements it."""
    files: Texts = ()
    """Files, folders or globs; what gzip or zstd compressed is decompressed."""


class LikelihoodSettings(ScoringSettings):
    """Scores that are computed from the likelihood of texts."""

    batch_tokens: int = Field(8192, gt=0)
    """The most tokens that the model reads at a time; a longer row is read alone."""
    also_hidden: AlsoHidden | None = None
    """For an encoder, which tokens are hidden together with the one that is predicted: none; those after it in its word (Kauf and
    Ivanova 2023), also if omitted; or its whole word."""


class FewShotSettings(ScoringSettings):
    """Questions that solved examples may precede (Brown et al. 2020, section 2.4)."""

    context_column: str = "context"
    """The column of the question's text."""
    between: str = " "
    """The text between a question and its answer."""
    shots: int = Field(0, ge=0)
    """The number of solved examples before each question."""
    shots_from: Texts = ()
    """Files with the solved examples; the other examples of ``files`` if omitted."""
    separator: str = "\n\n"
    """The text after each solved example."""
    seed: int = Field(0, ge=0, lt=2**63)
    """Another seed draws other solved examples."""


def require_files(settings: ScoringSettings, example: str) -> None:
    """Refuse settings without files.

    Args:
        settings: the settings.
        example: the name of a file, for the message.

    Raises:
        ValueError: if there are none.
    """
    if not settings.files:
        raise ValueError(f"files is missing: name the examples to score, scoring.files=[{example}]")
